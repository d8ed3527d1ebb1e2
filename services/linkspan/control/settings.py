"""What the control API takes from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from linkspan.kernel.config import Settings


class ControlSettings(Settings):
    """``linkspan_tokens``: by default ``control/tokens.yaml`` in the data directory, where there is one.
    ``linkspan_jwks``: a file, or an https address; ``linkspan_client_roles`` goes with ``linkspan_control_client_ca``.
    """

    linkspan_tokens: Path | None = None
    linkspan_jwks: str | None = None
    linkspan_jwt_issuer: str | None = None
    linkspan_jwt_audience: str | None = None
    linkspan_jwt_role_claim: Annotated[str, Field(min_length=1)] = "role"
    linkspan_control_cert: Path | None = None
    linkspan_control_key: Path | None = None
    linkspan_control_client_ca: Path | None = None
    linkspan_client_roles: Path | None = None

    @property
    def control_folder(self) -> Path:
        return self.linkspan_data / "control"

    @property
    def tokens_file(self) -> Path | None:
        """None where none is named and none is at its usual place."""
        usual = self.control_folder / "tokens.yaml"
        return self.linkspan_tokens or (usual if usual.exists() else None)
