#!/bin/sh
# check.sh [MODEL.pml...]: searches each model (default: all beside this script) with spin. What to search stands in the
# model, one search a line:
#   PAN: SPIN-OPTIONS | COMPILER-OPTIONS | RUN-OPTIONS          must be searched to the end without an error
#   PAN-FINDS: SPIN-OPTIONS | COMPILER-OPTIONS | RUN-OPTIONS    must find an error: shows that the model can see one
# e.g. "PAN: -DMSGS=2 | -DSAFETY -DCOLLAPSE -DMEMLIM=4000 | -m300000". A search cut short by depth or memory fails.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
command -v spin >/dev/null || { echo "check.sh: spin is not installed"; exit 77; }
[ $# -gt 0 ] || set -- "$here"/*.pml
[ -e "$1" ] || { echo "no models"; exit 0; }

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
failed=0

# search NAME FILE EXPECTED SPIN-OPTIONS COMPILER-OPTIONS RUN-OPTIONS
search() {
  rm -rf "$work/run"
  mkdir "$work/run" && cd "$work/run" || return 1
  # shellcheck disable=SC2086 # options are words
  if ! { spin $4 -a "$2" && "${CC:-cc}" -O2 -w $5 -o pan pan.c; } >log 2>&1; then
    cat log
    echo "FAILED: $1 ($4): does not build"
    return 1
  fi
  # shellcheck disable=SC2086
  ./pan $6 >log 2>&1
  status=$?
  states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' log | head -n 1)
  if [ "$status" -ne 0 ] || ! grep -q 'errors: [0-9]' log; then
    result="ended with status $status"
  elif ! grep -q 'errors: 0' log; then
    result='finds an error'
  elif grep -qiE 'max search depth too small|search not completed|out of memory' log; then
    result='is cut short'
  else
    result='holds'
  fi
  if [ "$result" = "$3" ]; then
    echo "ok: $1 ($4) $result, ${states:-?} states"
    return 0
  fi
  sed '/^unreached in/,$d' log
  # shellcheck disable=SC2086
  [ "$result" != 'finds an error' ] || spin -t -p -g $4 "$2" 2>/dev/null | tail -n 200
  echo "FAILED: $1 ($4) $result; expected: $3"
  return 1
}

for model in "$@"; do
  file=$(cd "$(dirname "$model")" && pwd)/$(basename "$model")
  name=$(basename "$model")
  grep -E '^[ *]*PAN(-FINDS)?:' "$file" >"$work/searches" || { echo "FAILED: $name has no PAN: line"; failed=1; continue; }
  while IFS='|' read -r first compiler run; do
    case $first in
    *PAN-FINDS:*) expected='finds an error' ;;
    *) expected='holds' ;;
    esac
    run=$(printf '%s' "$run" | sed 's@\*/.*@@')
    search "$name" "$file" "$expected" "$(printf '%s' "$first" | sed 's/^.*PAN[A-Z-]*: *//; s/ *$//')" \
      "$compiler" "$run" </dev/null || failed=1
  done <"$work/searches"
done
exit "$failed"
