#!/usr/bin/env bash
# Bytes that one forward pass brings from memory, on the caches of boards, counted by valgrind's cachegrind: the misses of the last
# cache of `embed` on three times one image less those on it once, halved, so that starting, loading and packing fall out.
# Decoding and resizing the image is in it.
#
#   benches/arm/traffic.sh MODEL IMAGE SIZE [BOARD...]     # BOARD: pi5, pi4, orin-nano; all unless some are named
#
# MICRORAPTOR is the program (target/release/microraptor), THREADS a list ("1 4"). It takes a minute or two a board and number of
# threads, for ViT-S at 224 px. cachegrind knows two levels of caches, and runs one thread at a time, in turns far longer than
# threads on cores of their own are apart: with several threads the numbers are an upper bound.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
model=$1 image=$2 size=$3
shift 3
boards=("$@")
[ $# -gt 0 ] || boards=(pi5 pi4 orin-nano)
program=${MICRORAPTOR:-target/release/microraptor}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Misses of the last cache, instructions and data: IMAGES THREADS.
misses() {
    local images=()
    for _ in $(seq "$1"); do images+=("$image"); done
    valgrind --tool=cachegrind --cache-sim=yes --I1="$level1" --D1="$level1" --LL="$last" \
        --cachegrind-out-file=/dev/null --log-file="$work/log" \
        "$program" embed "$model" "${images[@]}" --size "$size" --threads "$2" -o "$work/features.npz" >/dev/null 2>"$work/said" ||
        { cat "$work/said" "$work/log" >&2; exit 1; }
    sed -n 's/.* LL misses: *\([0-9,]*\).*/\1/p' "$work/log" | tr -d ,
}
for board in "${boards[@]}"; do
    # Bytes, ways, bytes of a line.
    case $board in
        pi5) level1=65536,4,64 last=2097152,16,64 ;;       # Cortex-A76, 2 MB of L3
        pi4) level1=32768,2,64 last=1048576,16,64 ;;       # Cortex-A72, 1 MB of L2
        orin-nano) level1=65536,4,64 last=4194304,16,64 ;; # Cortex-A78AE, 4 MB of L3
        *) echo "error: $board is none of pi5, pi4, orin-nano" >&2; exit 2 ;;
    esac
    for threads in ${THREADS:-1 4}; do
        one=$(misses 1 "$threads")
        three=$(misses 3 "$threads")
        echo "$board, $threads thread(s): $(((three - one) / 2 * 64 / 1000)) kB a pass"
    done
done
