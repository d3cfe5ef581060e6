#!/usr/bin/env bash
# Builds libmicroraptor for C and installs it, its header and its pkg-config file.
#
#   include/install.sh PREFIX [OPTIONS of cargo]     # --release unless --profile is given
#
# A smaller library: include/install.sh PREFIX --no-default-features. LIBDIR is where libraries lie below PREFIX: lib unless
# set, lib/x86_64-linux-gnu on Debian. For another machine add --target, with its linker set
# as cargo wants it (CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER, say). The shared library is linked here of the static
# one: that gives it a soname, versions of symbols, and no other symbols than those of the header.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -lt 1 ]; then
    echo "usage: include/install.sh PREFIX [OPTIONS of cargo]" >&2
    exit 2
fi
if ! mkdir -p "$1" 2>/dev/null || ! [ -w "$1" ]; then
    echo "error: $1 cannot be written to: install into a folder of your own, and copy that: cp -a FOLDER/. $1" >&2
    exit 2
fi
prefix=$(cd "$1" && pwd)
shift
case " $* " in
    *" --release "* | *" --profile "*) ;;
    *) set -- --release "$@" ;;
esac
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -1)
abi=$(sed -n 's/^#define MR_ABI //p' "$root/include/microraptor.h")
# Of another machine cargo's own linker for it, which is a compiler.
target=$(sed -n 's/.* --target[ =]\([^ ]*\) .*/\1/p' <<<" $* ")
linker=CARGO_TARGET_$(tr a-z- A-Z_ <<<"${target:-none}")_LINKER
cc=${!linker:-${CC:-cc}}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What cargo says goes to standard error, and to a file; its messages to another.
{
    cargo rustc --manifest-path "$root/Cargo.toml" --locked --lib --features capi --crate-type staticlib --color never \
        --message-format=json-render-diagnostics "$@" -- --print native-static-libs 2>&1 >&3 | tee "$work/log" >&2
} 3>"$work/messages"
archive=$(sed -n 's/.*"filenames":\["\([^"]*libmicroraptor\.a\)"\].*/\1/p' "$work/messages" | tail -1)
# Cargo repeats what rustc printed when it has nothing to build.
libraries=$(sed -n 's/^note: native-static-libs: //p' "$work/log" | tail -1)
if [ -z "$archive" ] || [ -z "$libraries" ]; then
    echo "error: cargo named no libmicroraptor.a, or not the libraries that it needs" >&2
    exit 1
fi

lib=$prefix/${LIBDIR:-lib}
mkdir -p "$lib/pkgconfig" "$prefix/include" "$prefix/share/doc/microraptor"
cp "$archive" "$lib/libmicroraptor.a"
wanted=$(grep -o '\bmr_[a-z_]*(' "$root/include/microraptor.h" | sort -u | sed 's/(//; s/^/-Wl,-u,/')
shared=libmicroraptor.so.$version
# shellcheck disable=SC2086
"$cc" -shared -o "$lib/$shared" -Wl,-soname,libmicroraptor.so.$abi \
    -Wl,--version-script="$root/include/microraptor.map" -Wl,--gc-sections -Wl,-z,defs -Wl,-z,noexecstack -Wl,-s $wanted "$archive" $libraries
ln -sf "$shared" "$lib/libmicroraptor.so.$abi"
ln -sf "libmicroraptor.so.$abi" "$lib/libmicroraptor.so"
cp "$root/include/microraptor.h" "$root/include/microraptor.hpp" "$prefix/include/"
# What a product with it must show.
cp "$root/THIRD-PARTY.txt" "$root/LICENSE-APACHE" "$root/LICENSE-MIT" "$prefix/share/doc/microraptor/"
cat >"$lib/pkgconfig/microraptor.pc" <<PC
prefix=\${pcfiledir}/$(sed 's|[^/]*|..|g' <<<"pkgconfig/${LIBDIR:-lib}")
libdir=\${prefix}/${LIBDIR:-lib}
includedir=\${prefix}/include

Name: microraptor
Description: Frozen vision transformers and light heads on the machine beside the patient
Version: $version
Libs: -L\${libdir} -lmicroraptor
Libs.private: $libraries
Cflags: -I\${includedir}
PC
ls -l "$lib" | sed 's/^/    /'
