#!/usr/bin/env bash
# Builds the Debian package: program, library for C, manual pages, completions, board files, systemd unit.
#
#   packaging/deb.sh FOLDER [--target aarch64-unknown-linux-gnu]
#
# Needs `cargo install cargo-deb` and Python 3.11. Of another machine it needs that machine's linker and, since the program
# writes its own manual, an emulator: CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER and ..._RUNNER, as cargo wants them
# (docs/packages.md).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
if [ $# != 1 ] && { [ $# != 3 ] || [ "$2" != --target ]; }; then
    echo "usage: packaging/deb.sh FOLDER [--target TRIPLE]" >&2
    exit 2
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
target=${2:-}
cd "$root"
built=${CARGO_TARGET_DIR:-target}/${target:+$target/}release
machine=${target:-$(rustc --print host-tuple)}

# The same library as include/install.sh makes by itself, and a program with all that docs/packages.md says: cameras, pins and
# meters, OpenIGTLink, the page of a stream, and the DICOM node.
features=hal,igtl,manual,node-tls,page,v4l2
cargo build --release --locked --features "$features" "$@"
stage=$built/deb
rm -rf "$stage"
runner=CARGO_TARGET_$(tr a-z- A-Z_ <<<"$machine")_RUNNER
read -ra runner <<<"${!runner:-}"
"${runner[@]}" "$built/microraptor" manual "$stage/usr/share"
gzip -9n "$stage"/usr/share/man/man1/*.1
install -D -m 755 "$built/microraptor" "$stage/usr/bin/microraptor"
# Libraries of several machines can lie beside each other on Debian. The static one is 170 MB: who wants it builds it.
LIBDIR=lib/${machine/-unknown-/-} include/install.sh "$stage/usr" "$@"
rm "$stage"/usr/lib/*/libmicroraptor.a
mkdir -p "$stage/usr/share/microraptor"
cp -r boards "$stage/usr/share/microraptor/"
install -D -m 644 -t "$stage/usr/lib/systemd/system" packaging/microraptor@.service
install -D -m 644 -t "$stage/usr/share/doc/microraptor" README.md docs/*.md docs/*-schema.json
# What is to be filed (docs/trust.md); the sheet of the program is that of the library too, which has less.
packaging/papers.py -o "$stage/usr/share/doc/microraptor" --name libmicroraptor --library --features capi --target "$machine" \
    --binary "$(echo "$stage"/usr/lib/*/libmicroraptor.so.*.*)"
packaging/papers.py -o "$stage/usr/share/doc/microraptor" --features "$features" --target "$machine" \
    --binary "$stage/usr/bin/microraptor"
gzip -9nc CHANGELOG.md >"$stage/usr/share/doc/microraptor/changelog.gz"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
maintainer=$(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)
printf 'microraptor (%s-1) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' "$version" "$maintainer" \
    "$(git log -1 --format=%cD 2>/dev/null || date -R)" | gzip -9n >"$stage/usr/share/doc/microraptor/changelog.Debian.gz"
# Versions of symbols are text, so no tool for the other machine is needed.
needs=$(grep -aoh 'GLIBC_2\.[0-9]*' "$stage/usr/bin/microraptor" "$stage"/usr/lib/*/*.so | sed 's/GLIBC_//' | sort -uV | tail -1)
says=$(sed -n 's/^depends = "libc6 (>= \([0-9.]*\)).*/\1/p' Cargo.toml)
if [ "$(printf '%s\n' "$needs" "$says" | sort -V | tail -1)" != "$says" ]; then
    echo "error: built here, the program needs glibc $needs, and Cargo.toml says that the package does with $says" >&2
    exit 1
fi
chmod -R u=rwX,go=rX "$stage"
cargo deb --no-build --no-strip --locked --output "$folder" "$@"
