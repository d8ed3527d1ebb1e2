#!/usr/bin/env bash
# Brings what the chart's tests need into a directory: helm, kubeconform, the schemas of Kubernetes, the kinds of the operators.
set -euo pipefail
usage() {
  cat <<'U'
usage: tools.sh [--help] [DIRECTORY]
Builds helm and kubeconform with the Go tool, and writes the schemas of two versions of Kubernetes and the definitions of the
kinds that the chart makes for operators (Prometheus, KEDA, Gateway API, External Secrets) into DIRECTORY (default:
${XDG_CACHE_HOME:-$HOME/.cache}/linkspan-tools). Does what is not done yet; about 3 minutes the first time.
environment: LINKSPAN_SHARED, where images/go-tool.sh and images/kube-schemas.sh are (default: ../shared beside the repository)
U
}
case "${1-}" in -h|--help) usage; exit 0;; -*) usage >&2; exit 2;; esac
[ $# -le 1 ] || { usage >&2; exit 2; }
tools=${1-${XDG_CACHE_HOME:-$HOME/.cache}/linkspan-tools}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
images=${LINKSPAN_SHARED:-$here/../shared}/images
[ -f "$images/go-tool.sh" ] || { echo "tools: no $images/go-tool.sh; LINKSPAN_SHARED says where it is" >&2; exit 1; }
mkdir -p "$tools/crds"

bash "$images/go-tool.sh" github.com/yannh/kubeconform@v0.8.0 cmd/kubeconform "$tools"
bash "$images/go-tool.sh" helm.sh/helm/v3@v3.22.0 cmd/helm "$tools"
for version in 1.33 1.34; do bash "$images/kube-schemas.sh" "$version" "$tools/kube-schemas-$version"; done

definition() { # MODULE@VERSION FILE: a file of a Go module
  local to=$tools/crds/${2##*/} dir
  [ ! -s "$to" ] || return 0
  dir=$(cd "$tools" && go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
  install -m 644 "$dir/$2" "$to"
}
prometheus=github.com/prometheus-operator/prometheus-operator@v0.85.0 gateway=sigs.k8s.io/gateway-api@v1.3.0
for kind in servicemonitors prometheusrules; do
  definition $prometheus "example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml"
done
for kind in httproutes grpcroutes; do definition $gateway "config/crd/standard/gateway.networking.k8s.io_$kind.yaml"; done
definition github.com/kedacore/keda/v2@v2.17.2 config/crd/bases/keda.sh_scaledobjects.yaml
definition github.com/external-secrets/external-secrets@v0.19.2 config/crds/bases/external-secrets.io_externalsecrets.yaml
