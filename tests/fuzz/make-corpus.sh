#!/bin/sh
# make-corpus.sh    writes the inputs below corpus/ that the fuzz targets start from (all but fuzz_journal_segment's); the
# comment that each target begins with says how its input is laid out.
# Beside them lie inputs that once failed, under names that say why. A long run's inputs that reach something new are had by
#   build/fuzz/tests/fuzz/NAME -merge=1 EMPTY-FOLDER tests/fuzz/corpus/NAME build/fuzz/run/NAME/corpus
set -eu
cd "$(dirname "$0")/corpus"

# into TARGET NAME: standard input
into() {
  mkdir -p "$1"
  cat >"$1/$2"
}
# bytes WORD...: hexadecimal digits, in order
bytes() {
  for word in "$@"; do
    while [ -n "$word" ]; do
      rest=${word#??}
      # shellcheck disable=SC2059 # an escape sequence is what is wanted
      printf "\\$(printf %03o "0x${word%"$rest"}")"
      word=$rest
    done
  done
}
zeros() {
  head -c "$1" /dev/zero
}

# -- fuzz_attach: kind and flags; sizes; patches (file and how, word, value) ---------------------------------------------
for kind in 0 1 2 3 4; do
  bytes "4$kind" | into fuzz_attach "whole_$kind"
done
bytes 08 ff0f 0010 0040 | into fuzz_attach short_control
bytes 08 0020 0000 0040 | into fuzz_attach no_readers
bytes 08 0020 0010 ff3f | into fuzz_attach short_data
bytes 08 0020 0010 0000 | into fuzz_attach no_data
bytes 00 00 0000 0000000000000000 | into fuzz_attach magic
bytes 00 04 0100 02000000 | into fuzz_attach version
bytes 00 00 0300 8000000000000000 | into fuzz_attach features
bytes 00 02 0000 0000000000000000 | into fuzz_attach readers_magic
bytes 78 04 0b00 0d000000 | into fuzz_attach larger_segments
bytes 72 00 0c00 0300000020000000 00 0b00 0c00000008000000 | into fuzz_attach more_of_all
bytes 40 04 2000 07000000 | into fuzz_attach active_slot

# -- fuzz_control: kind; steps (see enum step; 20 added: the second of its role, 40: weird or who may repair) ------------
life='02 22 42 0401 2400 0501 250a 0e 2e 4e 14 34 54 15 35 1a 4d 06 26 15 54 55 4b 03 23 0f 2f 1a'
for kind in 0 1 2 3 4; do
  # shellcheck disable=SC2086 # words
  bytes "0$kind" $life | into fuzz_control "life_$kind"
done
bytes 00 02 0401 4e 0810 01fcffffffffffffff 42 4c 54 55 57 1a | into fuzz_control dead_with_claim
bytes 00 02 22 0805 2508 2508 0e 14 15 17 01fcffffffffffffff 42 4c 15 | into fuzz_control dead_displaced
bytes 00 02 0508 08 0002 0000000000000000 0505 | into fuzz_control tail
bytes 00 02 0504 00 00 2002 ffffffffffffffff 0504 14 15 | into fuzz_control active_nowhere
bytes 01 02 0504 0504 03 00 07 0000 05000000 02 0504 0504 | into fuzz_control exclusive_chain_broken
bytes 02 02 0505 0e 2e 10 01 30 00 11 18 0008 16 14 15 17 0f | into fuzz_control cursors
bytes 03 02 06 06 06 0e 14 06 06 15 17 | into fuzz_control lapped

# -- fuzz_records: kind, index, id, tail, segment ------------------------------------------------------------------------
# A head is state | flags << 2 | units << 5 | tag << 26; then body_bytes, crc, body.
record() { # head as eight bytes, body_bytes as four
  bytes "$1" "$2" 00000000
}
{ bytes 00 01 05 0200000000000000; record 2200001400000000 08000000; printf 'good day'; zeros 40
  record 2300000000000000 00000000; } | into fuzz_records two
{ bytes 00 01 05 0400000000000000; record 4600000000000000 60000000
  bytes 4800 0700 0300 1d00 0102030405060708 1112131415161718 2122232425262728 0100000000000000; printf 'key'
  bytes 04 0500; printf 'namevalue'; bytes 01 0200; printf 'xyz'; bytes 06 0000; printf 'nobody'; zeros 4; zeros 24
  } | into fuzz_records properties
{ bytes 00 01 05 0100000000000000; record 2200000000000000 31000000; } | into fuzz_records body_too_long
{ bytes 00 01 05 0100000000000000; record 2208000000000000 30000000; } | into fuzz_records record_too_long
{ bytes 00 01 05 4000000100a82000; } | into fuzz_records dead_claim_in_tail
{ bytes 00 01 05 4000020840148000; } | into fuzz_records claim_leaves_segment
{ bytes 00 01 05 4000000100a82000; record 2100000000148000 00000000; } | into fuzz_records dead_claim_in_header
{ bytes 01 01 05 0000000000000000; record 2200000000000000 30000000; zeros 48; record 2100000000000000 00000000
  } | into fuzz_records exclusive

# -- fuzz_journal_files: which file; what it holds -----------------------------------------------------------------------
for file in 4 5 6 7; do
  { bytes "0$file"; zeros 600; } | into fuzz_journal_files "zeros_$file"
done
meta() { # the block's members, without those that the target puts right
  zeros 24; bytes "$1"; bytes 07; zeros 15; zeros 8; bytes 0100000000000000; zeros 16; bytes 0010000000000000; zeros 24
  zeros 8; bytes "$2"; zeros 16; bytes 80010000; zeros 8; printf 'ring'; zeros 68
}
{ bytes 04; meta 0100000000000000 0c000000; meta 0200000000000000 0c000000; } | into fuzz_journal_files meta
{ bytes 04; meta 0100000000000000 0c000000; meta 0200000000000000 40000000; } | into fuzz_journal_files meta_shift
range() { # from, to, reason
  zeros 8; bytes "$1" "$2"; zeros 16; bytes "$3"; zeros 20
}
{ bytes 05; range 0000000000000000 0010000000000000 01000000; range 0010000000000000 0020000000000000 01000000
  range 0018000000000000 ffffffffffffffff 03000000; } | into fuzz_journal_files ranges
{ bytes 05; range 0020000000000000 0010000000000000 02000000; } | into fuzz_journal_files range_backwards
{ bytes 06; zeros 12; bytes 01000000 01000000; zeros 44; printf 'one'; zeros 77; printf 'two'; zeros 77
  } | into fuzz_journal_files names
{ bytes 07; zeros 12; bytes 02000000; zeros 16; printf 'one'; zeros 69; bytes 0010000000000000 0020000000000000; zeros 8
  printf 'two'; zeros 69; bytes 0000000000000000 ffffffffffffffff; zeros 8; } | into fuzz_journal_files pins
{ bytes 07; zeros 12; bytes 02000000; zeros 16; printf 'two'; zeros 69; bytes 0010000000000000 0020000000000000; zeros 8
  printf 'one'; zeros 69; bytes 0000000000000000 ffffffffffffffff; zeros 8; } | into fuzz_journal_files pins_out_of_order
{ bytes 07; zeros 12; bytes ffffffff; zeros 200; } | into fuzz_journal_files pins_count
{ bytes 06; zeros 12; bytes ffffffff 01000000; zeros 200; } | into fuzz_journal_files names_count

# -- fuzz_journal_index: put right or not; the time; entries -------------------------------------------------------------
entry() { # position, time
  zeros 8; bytes "$1" "$2"; zeros 8
}
{ bytes 01 0300000000000000; entry 0000000000000000 0100000000000000; entry 0010000000000000 0300000000000000
  entry 0020000000000000 0500000000000000; } | into fuzz_journal_index three
{ bytes 01 0400000000000000; entry 0010000000000000 0300000000000000; zeros 96; entry 0020000000000000 0500000000000000
  } | into fuzz_journal_index hole
{ bytes 01 0300000000000000; entry 0020000000000000 0500000000000000; entry 0010000000000000 0100000000000000
  } | into fuzz_journal_index falling
{ bytes 01 ffffffffffffffff; entry c0ffffffffffffff feffffffffffffff; } | into fuzz_journal_index far_ahead
{ bytes 01 0300000000000000; entry 0010000000000000 0100000000000000; bytes 5555555555; } | into fuzz_journal_index torn
{ bytes 00 0300000000000000; zeros 4096; } | into fuzz_journal_index zeros

# -- fuzz_command_line: words, each ended by a zero byte -----------------------------------------------------------------
words() {
  printf '%s\0' "$@"
}
words ring create r --exclusive --segment 4KiB --memory-limit=8MiB --mode 0640 --when-full drop-new --publishers 1 |
  into fuzz_command_line create
words pub r --rate 1.5k --confirm durable --tag=7 --timeout 250ms --framed --file - | into fuzz_command_line pub
words --bus /dev/shm sub r --from end --count 3 --json | into fuzz_command_line sub
words stat --help | into fuzz_command_line help
words ring --bus | into fuzz_command_line no_value
words --version | into fuzz_command_line version
words -- ring rm -- --odd-name | into fuzz_command_line end_of_options
words ring ls r --json=1 | into fuzz_command_line value_not_taken
words journal dump r --since 2026-01-31T12:00:00.5+01:00 --until=10m --journal /j --json | into fuzz_command_line journal_dump
words journal pin r --name p --from start --to 4096 | into fuzz_command_line journal_pin
words journal unpin r --all | into fuzz_command_line journal_unpin
words journal repair r --dry-run --since 1 | into fuzz_command_line journal_repair
words 2026-01-31 2026-01-31T12:00 2026-02-30T25:00Z 2026-01-31T12:00:00-99:99 10d 0001-01-01 9999-12-31T23:59:60.9999999999999Z |
  into fuzz_command_line instants
words bench --size 64 --seconds 0.5 | into fuzz_command_line bench
words 18446744073709551615 17179869184GiB 9000000000 9000000001s 007 08 1..5 .5min 12.k end start |
  into fuzz_command_line numbers

# -- fuzz_framed: flags; longest message; pieces; text ----------------------------------------------------------------------
{ bytes 00 20 00; printf 'one\ntwo\n\nno newline'; } | into fuzz_framed lines
{ bytes 00 04 03 01 00 02; printf 'one\ntwo\nthree\n'; } | into fuzz_framed line_too_long
{ bytes 01 20 02 01 05; bytes 03000000; printf 'one'; bytes 00000000 05000000; printf 'three'; } | into fuzz_framed frames
{ bytes 01 20 00; bytes 03000000; printf 'one'; bytes 0500; } | into fuzz_framed length_cut_off
{ bytes 01 20 01 02; bytes 05000000; printf 'two'; } | into fuzz_framed frame_cut_off
{ bytes 01 ff 00; bytes ffffffff; } | into fuzz_framed frame_too_long
{ bytes 02 ff 02 40 00; zeros 3000; printf '\n'; } | into fuzz_framed long_line

# -- fuzz_config: a configuration file -----------------------------------------------------------------------------------------
into fuzz_config sample <../../../packaging/weird.conf
sed 's/^#\([a-z[]\)/\1/' ../../../packaging/weird.conf | into fuzz_config sample_open
printf '[weird]\nthreads=99\nbux=1\nthreads=2\n[jour]\nno line\n[ring a b]\n[ring\n= 5\n' | into fuzz_config faults
printf '[ring]\nsync=interval=50\nretain_age=90 min\n[ring [ab]*]\nlimit=1GiB ; so much\nwhen_limited: expire\n' |
  into fuzz_config rings
printf '[journal]\nhigh_watermark=50%%\nlow_watermark=49\nlimit=18446744073709551615TiB\nreserve=100 G\n' |
  into fuzz_config room
{ printf '\357\273\277[weird]\r\n\tbus = /a\r\n'; bytes 00 1b ff; } | into fuzz_config no_text
