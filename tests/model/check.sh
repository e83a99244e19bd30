#!/bin/sh
# check.sh [--hand] [MODEL.pml...]: searches each model (default: all beside this script) with spin, as many searches at a time as
# there are processors. What to search stands in the model, one search a line:
#   PAN: SPIN-OPTIONS | COMPILER-OPTIONS | RUN-OPTIONS                must be searched to the end without an error
#   PAN-FINDS: SPIN-OPTIONS | COMPILER-OPTIONS | RUN-OPTIONS | TEXT   must find the error that pan tells in a line with TEXT:
#                                                                     shows that the model can see one
#   HAND: as PAN, but takes long: searched only with --hand, one at a time, and then nothing else is
# e.g. "PAN: -DMSGS=2 | -DSAFETY -DNOREDUCE | -E". A search cut short by depth or memory fails.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
command -v spin >/dev/null || { echo "check.sh: spin is not installed"; exit 77; }

# trimmed TEXT: without blanks at its ends
trimmed() {
  printf '%s' "$1" | sed 's/^ *//; s/ *$//'
}

# search FILE EXPECTED SPIN-OPTIONS COMPILER-OPTIONS RUN-OPTIONS TEXT
search() {
  name=$(basename "$1")
  started=$(date +%s)
  # A broken protocol is found out soon: then compiling is what takes long.
  optimise=-O2
  [ "$2" = holds ] || optimise=-O0
  # shellcheck disable=SC2086 # options are words
  if ! { spin $3 -a "$1" &&
    "${CC:-cc}" "$optimise" -w -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM="$memory_mb" $4 -o pan pan.c; } >log 2>&1; then
    cat log
    echo "FAILED: $name ($3): does not build"
    return 1
  fi
  # shellcheck disable=SC2086
  ./pan -m1000000 $5 >log 2>&1
  status=$?
  states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' log | head -n 1)
  if [ "$status" -ne 0 ] || ! grep -q 'errors: [0-9]' log; then
    result="ended with status $status"
  elif ! grep -q 'errors: 0' log; then
    result='finds an error'
    grep '^pan:1: ' log | grep -qF -e "$6" || result='finds another error'
  elif grep -qiE 'max search depth too small|search not completed|out of memory' log; then
    result='is cut short'
  else
    result='holds'
  fi
  if [ "$result" = "$2" ]; then
    echo "ok: $name ($3) $result, ${states:-?} states, $(($(date +%s) - started)) s"
    return 0
  fi
  sed '/^unreached in/,$d' log
  # shellcheck disable=SC2086
  [ "$result" = holds ] || spin -t -k "$name.trail" -p -g $3 "$1" 2>/dev/null | tail -n 100
  echo "FAILED: $name ($3) $result; expected: $2${6:+, $6}"
  return 1
}

# check.sh --search MEMORY-MB FILE LINE: one search, the line as it stands in the model
if [ "${1-}" = --search ]; then
  memory_mb=$2
  file=$3
  line=${4#*PAN: }
  line=${line#*HAND: }
  line=${line#*PAN-FINDS:}
  spin_options=$(trimmed "${line%%|*}")
  line=${line#*|}
  compiler_options=${line%%|*}
  line=${line#*|}
  run_options=${line%%|*}
  expected=holds
  text=
  case $4 in
  *PAN-FINDS:*)
    expected='finds an error'
    text=$(trimmed "${line#*|}") # may have a | of its own
    [ -n "$text" ] || { echo "FAILED: $(basename "$file"): which error? $4"; exit 1; }
    ;;
  esac
  work=$(mktemp -d) || exit 1
  trap 'rm -rf "$work"' EXIT
  trap 'exit 1' INT TERM
  cd "$work" || exit 1
  search "$file" "$expected" "$spin_options" "$compiler_options" "$run_options" "$text" </dev/null >"$work/said"
  status=$?
  cat "$work/said" # at once: others speak, too
  exit "$status"
fi

kinds='PAN(-FINDS)?'
memory_mb=6000
jobs=$(nproc)
if [ "${1-}" = --hand ]; then
  kinds=HAND
  memory_mb=16000
  jobs=1
  shift
fi
[ $# -gt 0 ] || set -- "$here"/*.pml
[ -e "$1" ] || { echo "no models"; exit 0; }

list=$(mktemp) || exit 1
trap 'rm -f "$list"' EXIT
trap 'exit 1' INT TERM
failed=0
for model in "$@"; do
  file=$(cd "$(dirname "$model")" && pwd)/$(basename "$model")
  grep -E "^[ *]*$kinds:" "$file" | while IFS= read -r line; do
    printf '%s\0%s\0' "$file" "$line"
  done >>"$list"
  [ "$kinds" = HAND ] || grep -qE "^[ *]*$kinds:" "$file" || { echo "FAILED: $(basename "$model") has no PAN: line"; failed=1; }
done
xargs -0 -r -n 2 -P "$jobs" "$here/check.sh" --search "$memory_mb" <"$list" || failed=1
exit "$failed"
