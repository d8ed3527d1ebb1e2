#!/usr/bin/env bash
# Brings a release back to a former version, with everything stopped in between: nothing of the two runs at the same time.
set -euo pipefail
usage() {
  cat <<'U'
usage: rollback.sh [--namespace NAME] [--to REVISION | --image IMAGE] [--timeout SECONDS] [--keep-spool] RELEASE
Stops every workload of the Helm release, puts the former version in place, and starts as many replicas as ran before.
  1. ingress: waits until every replica's spool is empty, then stops it; its senders wait
  2. egress, insight, ledger and what else there is: stopped, what is under way ends
  3. the former version: of the last revision that was deployed before this one, with its configuration and its number of
     replicas where no autoscaler has its own; or --to REVISION; or only another image, --image NAME:TAG
  4. starts all, and waits until they are ready
options:
  --namespace NAME   (default: the context's)
  --to REVISION      a revision of `helm history RELEASE`
  --image IMAGE      changes nothing but the image, without helm
  --timeout SECONDS  for each wait (default: 300)
  --keep-spool       does not wait for the spools, as when Kafka is away: they stay on their volumes, and are drained at the start
Nothing is lost: what is accepted is in Kafka or on a volume. Stopped half-way, run it again with --to the revision that it
said: it remembers the replicas.
exit code: 0 done; 1 it could not be done, and what to look at is said; 2 usage
U
}
say() { echo "rollback: $*" >&2; }
die() { say "$@"; exit 1; }
mistake() { say "$@"; usage >&2; exit 2; }

namespace='' revision='' image='' timeout=300 keep='' release=''
while [ $# -gt 0 ]; do
  case "$1" in
    -h|--help) usage; exit 0;;
    --namespace|-n) namespace=${2-}; [ -n "$namespace" ] || mistake "--namespace needs a name"; shift;;
    --to) revision=${2-}; [[ $revision =~ ^[1-9][0-9]*$ ]] || mistake "--to needs the number of a revision"; shift;;
    --image) image=${2-}; [ -n "$image" ] || mistake "--image needs a name"; shift;;
    --timeout) timeout=${2-}; [[ $timeout =~ ^[1-9][0-9]*$ ]] || mistake "--timeout needs a number of seconds"; shift;;
    --keep-spool) keep=1;;
    -*) mistake "$1 is not known";;
    *) [ -z "$release" ] || mistake "one release at a time"; release=$1;;
  esac
  shift
done
[ -n "$release" ] || mistake "which release?"
[ -z "$revision" ] || [ -z "$image" ] || mistake "--to and --image exclude each other"
command -v kubectl >/dev/null || die "kubectl is needed"
[ -n "$image" ] || command -v helm >/dev/null || die "helm is needed, or --image"
: "${namespace:=$(kubectl config view --minify -o 'jsonpath={.contexts[0].context.namespace}')}"
: "${namespace:=default}"
kc() { kubectl --namespace "$namespace" "$@"; }

ours="app.kubernetes.io/instance=$release"
remembered=linkspan/replicas-before-rollback
began=$SECONDS
step() { say "$((SECONDS - began)) s: $*"; }

workloads() { # of a component, or all; kind/name, a line each
  local selector=$ours${1:+,app.kubernetes.io/component=$1}
  kc get statefulset,deployment -l "$selector" -o name
}
component() { # KIND/NAME
  kc get "$1" -o 'jsonpath={.metadata.labels.app\.kubernetes\.io/component}'
}
replicas() { kc get "$1" -o 'jsonpath={.spec.replicas}'; }
remembered() { kc get "$1" -o "jsonpath={.metadata.annotations.$remembered}"; }

manifest() { helm get manifest "$release" --namespace "$namespace" ${1:+--revision "$1"}; }

former_revision() { # the newest before the present one that was once in place, and is another than what is there now
  local known each
  known=$(helm history "$release" --namespace "$namespace" --max 256 -o json | tr '{' '\n' | grep '^"revision":' | sed '$d' |
    sed -n 's/^"revision":\([0-9]*\),.*"status":"\(superseded\|deployed\)".*/\1/p' | sort -rn)
  for each in $known; do
    cmp -s <(manifest "$each") <(manifest) || { echo "$each"; return; }
  done
}

spooled() { # messages in the spool of one pod of ingress
  kc exec "$1" -c ingress -- python -c '
import os, ssl, urllib.request
scheme = "https" if os.environ.get("LINKSPAN_TLS_CERT") else "http"
own = ssl._create_unverified_context()
text = urllib.request.urlopen(f"{scheme}://127.0.0.1:8080/metrics", timeout=5, context=own).read().decode()
print(int(sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("linkspan_spool_messages{"))))'
}

drain() { # until every spool is empty
  local end=$((SECONDS + timeout)) pod left
  while :; do
    left=0
    for pod in $(kc get pods -l "$ours,app.kubernetes.io/component=ingress" --field-selector status.phase=Running -o name); do
      found=$(spooled "$pod" 2>/dev/null) || { left=unknown; break; }
      left=$((left + found))
    done
    [ "$left" != 0 ] || return 0
    [ $SECONDS -lt $end ] || die "the spool of ingress is not empty ($left messages): is Kafka there? Nothing was stopped; --keep-spool leaves them on their volumes"
    sleep 1
  done
}

stop() { # COMPONENT...: to 0, and until no pod of it is there
  local each
  for each in "$@"; do kc scale "$each" --replicas 0 >/dev/null; done
  for each in "$@"; do
    kc wait pods -l "$ours,app.kubernetes.io/component=$(component "$each")" --for delete --timeout "${timeout}s" >/dev/null ||
      die "$each does not stop within $timeout s: kubectl -n $namespace describe $each"
  done
}

mapfile -t all < <(workloads)
[ ${#all[@]} -gt 0 ] || die "no workload of a release $release in namespace $namespace"
if [ -z "$image" ] && [ -z "$revision" ]; then
  revision=$(former_revision)
  [ -n "$revision" ] || die "no revision of $release was in place before this one; --to or --image says what to put back"
fi

mapfile -t intake < <(workloads ingress)
if [ -z "$keep" ]; then step "waits for the spools of ingress"; drain; fi
# Autoscalers leave alone what has 0 replicas; KEDA does not, so it is told to wait.
scaled=$(kc get scaledobject -l "$ours" -o name 2>/dev/null || true)
for each in $scaled; do kc annotate --overwrite "$each" autoscaling.keda.sh/paused=true >/dev/null; done
# What has 0 replicas and remembers others was stopped by a run that did not come to its end.
for each in "${all[@]}"; do
  count=$(replicas "$each")
  [ "$count" = 0 ] && [ -n "$(remembered "$each")" ] || kc annotate --overwrite "$each" "$remembered=$count" >/dev/null
done
step "stops ingress"
stop "${intake[@]}"
mapfile -t rest < <(printf '%s\n' "${all[@]}" | grep -vxF "$(printf '%s\n' "${intake[@]}")")
step "stops ${#rest[@]} others"
stop "${rest[@]}"

if [ -n "$image" ]; then
  step "puts $image in place"
  for each in "${all[@]}"; do kc set image "$each" "$(component "$each")=$image" >/dev/null; done
else
  step "puts revision $revision in place"
  helm rollback "$release" "$revision" --namespace "$namespace" --no-hooks >/dev/null ||
    die "helm rollback failed; everything is stopped. Run this again with --to $revision"
fi

step "starts them again"
mapfile -t all < <(workloads)
for each in "${all[@]}"; do
  count=$(remembered "$each")
  [ -z "$count" ] || kc scale "$each" --replicas "$count" >/dev/null
done
for each in "${all[@]}"; do
  count=$(replicas "$each")
  kc rollout status "$each" --timeout "${timeout}s" >/dev/null &&
    { [ "$count" = 0 ] || kc wait "$each" --for "jsonpath={.status.readyReplicas}=$count" --timeout "${timeout}s" >/dev/null; } ||
    die "$each is not ready within $timeout s: kubectl -n $namespace describe $each"
  kc annotate "$each" "$remembered-" >/dev/null
done
for each in $scaled; do kc annotate "$each" autoscaling.keda.sh/paused- >/dev/null; done
step "done"
