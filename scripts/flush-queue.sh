#!/bin/sh
# Gives up the messages that wait for delivery: each is recorded as discarded, and none is ever delivered.
# Without --confirm it only counts them. It asks the control API: LINKSPAN_CONTROL, LINKSPAN_TOKEN or a profile say which.
set -eu

usage="usage: $0 [--flow NAME]... [--reason TEXT] [--confirm]"
confirm= which= reason="flushed by $0"
while [ $# -gt 0 ]; do
    case $1 in
        --confirm) confirm=--confirm ;;
        --flow | --reason)
            [ $# -ge 2 ] || { echo "$1 needs a value; $usage" >&2; exit 2; }
            if [ "$1" = --flow ]; then which="$which $2"; else reason=$2; fi
            shift
            ;;
        -h | --help) echo "$usage"; exit 0 ;;
        *) echo "$1 is not known; $usage" >&2; exit 2 ;;
    esac
    shift
done
case $which in *[!A-Za-z0-9._\ -]*) echo "--flow: expected the name of a flow" >&2; exit 2 ;; esac

linkspan=$(command -v linkspan || echo "$(dirname "$0")/../.venv/bin/linkspan")
[ -x "$linkspan" ] || { echo "linkspan is not installed: pip install linkspan, or make setup" >&2; exit 2; }

code=0
# shellcheck disable=SC2086 # names of flows have no spaces
"$linkspan" flush-queue ${which:---all} --reason "$reason" ${confirm:---dry-run} || code=$?
case $code in
    0) [ -n "$confirm" ] || { echo "nothing was done; --confirm gives them up for good" >&2; exit 2; } ;;
    1) exit 0 ;; # nothing waits
    *) exit "$code" ;;
esac
