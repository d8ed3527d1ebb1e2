"""What the tree promises to whoever reads it. Layers are import-linter's (`make check`)."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "services").rglob("*.py"))
HAND_WRITTEN = [path for path in SOURCES if "/control/v1/" not in path.as_posix()]
#: The design says about 300 lines and about 25; these are where "about" ends.
FILE_LINES, FUNCTION_LINES = 300, 40


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_a_file_stays_under_300_lines() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): n for path in HAND_WRITTEN if (n := len(path.read_text().splitlines())) > 300
    }
    assert not long


def test_a_function_stays_readable() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in HAND_WRITTEN
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES
    ]
    assert not long


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "common", "helpers", "helper", "misc"}
    assert not [path for path in SOURCES if drawers & set(path.relative_to(ROOT).with_suffix("").parts)]


def test_only_the_command_line_and_the_ready_line_print() -> None:
    allowed = {"cli", "broker"}
    printing = [
        path.relative_to(ROOT).as_posix()
        for path in HAND_WRITTEN
        if not allowed & set(path.relative_to(ROOT).parts)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not printing


LOCKS = {"requirements.lock": 50, "requirements-runtime.lock": 50, "requirements-build.lock": 2}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_a_hash_for_every_package_and_no_address(name: str) -> None:
    lock = (ROOT / name).read_text()
    packages = re.split(r"\n(?=\S)", lock.strip())
    assert len(packages) > LOCKS[name]
    assert not [package.split()[0] for package in packages if "--hash=sha256:" not in package]
    assert "://" not in lock


def test_the_image_gets_the_versions_that_are_tested() -> None:
    pins = {name: set(re.findall(r"^([\w.-]+==[\w.!+-]+)", (ROOT / name).read_text(), re.MULTILINE)) for name in LOCKS}
    tested = pins.pop("requirements.lock")
    assert all(pins.values())
    assert not {pin for others in pins.values() for pin in others} - tested
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    runtime = {pin.partition("==")[0] for pin in pins["requirements-runtime.lock"]}
    assert not {re.split(r"[\[<>=; ]", one)[0] for one in wanted} - runtime


def test_no_registry_and_no_path_of_a_machine_is_named() -> None:
    hosts = [
        b"pypi" + b".org",
        b"pythonhosted" + b".org",
        b"repo1.maven" + b".org",
        b"repo.maven." + b"apache.org",
        b"registry.npmjs" + b".org",
        b"proxy.golang" + b".org",
        b"deb.debian" + b".org",
    ]
    named = [
        (path.relative_to(ROOT).as_posix(), host.decode())
        for path in tracked()
        for host in [*hosts, str(ROOT.parent).encode() + b"/"]
        if path.suffix != ".lock" and host in path.read_bytes()
    ]
    assert not named


def test_the_readme_opens_with_the_two_commands() -> None:
    opening = (ROOT / "README.md").read_text().splitlines()[:15]
    for command in ("make demo", "make test"):
        assert any(command in line for line in opening)


@pytest.mark.parametrize("path", ["LICENSE", "CONTRIBUTING.md", "CHANGELOG.md", ".ci/run", "docs/decisions"])
def test_the_repository_has_what_a_newcomer_looks_for(path: str) -> None:
    assert (ROOT / path).exists()
