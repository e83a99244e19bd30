#!/bin/sh
# run_in_scratch.sh DISK-DIR TMPFS-DIR COMMAND...: runs the command with an empty WEIR_TEST_DIR and an empty WEIR_BUS
# and takes them away when it passed. What a failed test left on disk stays for a look until the next run.
set -u
umask 022 # some tests become another user, who has to get in
export WEIR_TEST_DIR="$1" WEIR_BUS="$2" TMPDIR="$1"
shift 2
rm -rf "$WEIR_TEST_DIR" "$WEIR_BUS"
mkdir -p "$WEIR_TEST_DIR" "$WEIR_BUS" && chmod 700 "$WEIR_TEST_DIR" || exit 1
trap 'rm -rf "$WEIR_BUS"' EXIT
trap 'exit 1' HUP INT TERM # the command got it, too: see it end first
cd "$WEIR_TEST_DIR" || exit 1
"$@"
status=$?
[ "$status" -ne 0 ] || rm -rf "$WEIR_TEST_DIR"
exit "$status"
