#!/bin/sh
# peers_test.sh TOP BUILD CMAKE: ./run bench --peers, as far as it needs no peer's packages: its programs for what the
# kernel has are built, refuse what they must, measure, write a report, and leave nothing when they are interrupted.
set -u
top=$1 release=$2 cmake=$3
tmp=$WEIR_TEST_DIR
failed=0

fail() {
  echo "FAILED: $1"
  failed=1
}

# refuses EXPECTED ARGUMENT...: with status 2, and so much in what it says
refuses() {
  expected=$1
  shift
  "$bin/weir-peers" --programs "$bin" "$@" >"$tmp/out" 2>"$tmp/error"
  status=$?
  [ "$status" -eq 2 ] || fail "$* ended with $status"
  grep -qF -e "$expected" "$tmp/error" || { fail "$*: no $expected"; cat "$tmp/error"; }
}

echo '-- build'
"$cmake" -G Ninja -S "$top/bench/peers" -B "$tmp/peers" -DWEIR_LIB="$release/lib" >"$tmp/log" 2>&1 &&
  "$cmake" --build "$tmp/peers" --target weir-peers peer-weir peer-pipe >>"$tmp/log" 2>&1 ||
  { cat "$tmp/log"; exit 1; }
bin=$tmp/peers/bin

echo '-- help and refusals'
"$bin/weir-peers" --help | grep -q '^usage: ./run bench --peers' || fail '--help'
"$bin/weir-peers" --list | grep -q '^  zeromq ' || fail '--list names no zeromq'
"$bin/weir-peers" --packages zeromq | grep -qx 'zeromq libzmq3-dev' || fail '--packages'
refuses 'there is no peer carrier-pigeon' carrier-pigeon
refuses 'there is no comparison speed' --compare latency,speed
refuses 'unknown option --fast' --fast
refuses '--seconds wants a number of seconds, not soon' --seconds soon
refuses '--cpus wants numbers of processors, not x' --cpus 0,x
refuses '--out wants a value' --out

if [ "$(nproc)" -ge 2 ]; then
  echo '-- a run'
  run="--programs $bin --weird $release/bin/weird --directory $tmp"
  # zeromq was not built here, and that is told; then the status is 1.
  # shellcheck disable=SC2086 # a list of words
  "$bin/weir-peers" $run --quick --compare latency,memory pipe zeromq --out "$tmp/out.d" >"$tmp/out" 2>"$tmp/error"
  status=$?
  [ "$status" -eq 1 ] || fail "it ended with $status"
  report=$tmp/out.d/REPORT.md
  grep -q '^| zeromq | not installed | its program was not built |' "$report" || fail 'the missing peer is not told'
  for what in '64 B' '1 KiB'; do
    grep -qE "^\| $what, (near|far|moved) \| p50" "$report" || fail "no round trip of $what"
  done
  grep -qE '^\| latency, 64 B, p50 \| (near|far) \| weir shared \|' "$report" || grep -q '64 B, moved' "$report" ||
    fail 'no comparison with the limit'
  # What its processes take besides may be a page of the allocator's, or none.
  grep -qE '^\| pipe \| -?[0-9]{1,2}\.[0-9]{1,2} KiB \| 1.00 MiB \|' "$report" || fail 'no memory of a pipe'
  cp "$report" "$tmp/first"
  "$bin/weir-peers" --report "$tmp/out.d/peers-report/raw.json" --out "$tmp/again" 2>/dev/null
  cmp "$tmp/first" "$tmp/again/REPORT.md" || fail 'the report made again from what was recorded is another'

  echo '-- interrupted'
  # shellcheck disable=SC2086
  "$bin/weir-peers" $run --json --compare slow pipe >"$tmp/out" 2>"$tmp/error" &
  pid=$!
  tries=0
  until ls "$tmp"/weir-peers-*/weird.conf >/dev/null 2>&1 || [ "$tries" -eq 600 ]; do
    tries=$((tries + 1))
    sleep 0.05
  done
  [ "$tries" -lt 600 ] || fail 'it did not start'
  read -r server _ <"/proc/$pid/task/$pid/children"
  name=$(tr '\0' '\n' <"/proc/$server/cmdline" | sed -n 's@.*/dev/shm/\(weir-peers-[A-Za-z0-9]*\).*@\1@p' | head -n 1)
  kill -TERM "$pid"
  wait "$pid"
  status=$?
  [ "$status" -eq 130 ] || fail "interrupted, it ended with $status"
  [ -n "$name" ] || fail 'no server ran'
  [ ! -e "/dev/shm/$name" ] || fail "/dev/shm/$name was left"
  ! ls -d "$tmp"/weir-peers-* 2>/dev/null || fail 'a folder was left'
  ! grep -qsF "$name" /proc/[0-9]*/cmdline || fail 'a process was left'
fi
[ "$failed" -eq 0 ] || cat "$tmp/error"
exit "$failed"
