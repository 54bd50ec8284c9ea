# Shared by deploy/demo, deploy/package, tests/run and tests/package: what a fresh Debian-like machine needs, and where builds go.
# Sourced, not run.

hueflow_cache=${HUEFLOW_CACHE:-$HOME/.cache/hueflow}

# need COMMAND PACKAGE...: installs the packages if the command is missing.
need() {
  local command=$1
  shift
  # Some programs live where an ordinary user's PATH does not reach.
  PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null && return 0
  missing+=("$@")
}

# need_file FILE PACKAGE...: installs the packages if the file is missing.
need_file() {
  local file=$1
  shift
  [ -e "$file" ] || missing+=("$@")
}

# need_python MODULE...: the command python3 with these modules. python3-minimal lacks json and multiprocessing.
need_python() {
  python3 -c "import $(IFS=,; echo "$*")" 2>/dev/null || missing+=(python3)
}

# java_version: the major version of the command java; 0 if there is none.
java_version() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
  echo "${version:-0}"
}

# The brokers of Kafka 4 need Java 17.
java_min=17
need_java() {
  if [ "$(java_version)" -lt $java_min ]; then missing+=(default-jre-headless); fi
}

# What bindgen needs for the cameras: libclang, which clang-sys looks for under these names, and clang's own C headers.
# libclang-cpp is another library.
need_libclang() {
  local dir file
  [ -z "${LIBCLANG_PATH:-}" ] || return 0
  for dir in /usr/lib/llvm-*/lib; do
    compgen -G "$dir/clang/*/include/stddef.h" >/dev/null || continue
    for file in "$dir"/libclang.so* "$dir"/libclang-*.so*; do
      case $file in *-cpp.*) ;; *) if [ -e "$file" ]; then return 0; fi ;; esac
    done
  done
  missing+=(libclang-dev)
}

# PostgreSQL's programs are in no PATH.
need_postgres() {
  compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || missing+=(postgresql)
}

# need_cross ARCH [c++]: Debian's C compiler for another architecture, with its C library, and the C++ compiler if asked for.
need_cross() {
  local triple
  case $1 in
    amd64) triple=x86_64-linux-gnu ;;
    arm64) triple=aarch64-linux-gnu ;;
    armhf) triple=arm-linux-gnueabihf ;;
  esac
  need "$triple-gcc" "gcc-$triple"
  need_file "/usr/$triple/include/stdio.h" "libc6-dev-$1-cross"
  if [ "${2:-}" = c++ ]; then need "$triple-g++" "g++-$triple"; fi
}

# Sets what all builds in the folder of ./deploy/package share. A linker and RUSTFLAGS are part of cargo's fingerprint, also
# this machine's linker, which links build scripts and macros: a build that did not set them would rebuild what the one before
# has built. The flag leaves out where this machine keeps the crates' sources.
export_build_environment() {
  export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
  export CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc
  export RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=/registry"
}

# at_least VERSION MINIMUM
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# is_new_enough PROGRAM: cargo or rustc, for the workspace's rust-version.
is_new_enough() {
  at_least "$("$1" --version 2>/dev/null | cut -d ' ' -f 2)" "$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)"
}

# need_debian_rust [source]: Debian's compiler, by path: a rustc of rustup's may come first in PATH and has no library for
# other architectures. `source`: and its library's source, of the same version and in the place where cargo looks for it.
need_debian_rust() {
  local packages=(rustc-web libstd-rust-web-dev) version source
  version=$(/usr/bin/rustc --version 2>/dev/null | cut -d ' ' -f 2 || true)
  source=/usr/src/rustc-$version
  if is_new_enough /usr/bin/rustc && dpkg-query -W libstd-rust-web-dev >/dev/null 2>&1; then
    if [ "${1:-}" != source ]; then return 0; fi
    if [ -e "$source/library/Cargo.lock" ] && [ /usr/lib/rustlib/src/rust -ef "$source" ]; then return 0; fi
  fi
  if [ "${1:-}" = source ]; then packages+=(rust-web-src); fi
  missing+=("${packages[@]}")
}

# has_std TRIPLE: the standard library of Debian's compiler for it is there, and of the compiler's version.
has_std() {
  [ "$(cat "/usr/lib/rustlib/$1/.version" 2>/dev/null)" = "$(dpkg-query -W -f '${Version}' libstd-rust-web-dev)" ]
}

# fetch_std ARCH TRIPLE: the standard library of Debian's compiler for another architecture, out of its package: to install
# that would bring half a system with it. Fetched again when the compiler was upgraded.
fetch_std() {
  local version dir mark=/usr/lib/rustlib/$2/.version
  version=$(dpkg-query -W -f '${Version}' libstd-rust-web-dev)
  if has_std "$2"; then return 0; fi
  dpkg --print-foreign-architectures | grep -qx "$1" || as_root dpkg --add-architecture "$1"
  as_root apt-get update -qq >&2
  dir=$(mktemp -d)
  (cd "$dir" && apt-get download -qq "libstd-rust-web-dev:$1=$version" && dpkg -x ./*.deb x) >&2
  as_root rm -rf "${mark%/*}"
  as_root cp -a "$dir/x${mark%/*}" /usr/lib/rustlib/
  as_root sh -c "echo '$version' >'$mark'"
  rm -rf "$dir"
}

# with_progress WHAT COMMAND...: runs the command and prints every half minute how long it has run: downloads, and compilers of
# large libraries, print nothing for minutes.
with_progress() {
  local what=$1 start=$SECONDS beat status=0
  shift
  (
    trap 'kill "$pause" 2>/dev/null; exit' TERM
    while sleep 30 & pause=$!; wait "$pause"; do echo "$what: $((SECONDS - start)) s so far" >&2; done
  ) &
  beat=$!
  "$@" || status=$?
  kill "$beat" 2>/dev/null || true
  wait "$beat" 2>/dev/null || true
  return "$status"
}

# Installs what was found missing, all in one go.
install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "installing: ${missing[*]}" >&2
  local sudo=
  if [ "$(id -u)" != 0 ]; then sudo=sudo; fi
  if ! command -v apt-get >/dev/null; then
    echo "this is not a Debian-like machine: please install ${missing[*]} by hand" >&2
    return 69
  fi
  with_progress "updating the lists of packages" $sudo apt-get update -qq >&2
  with_progress "installing packages" $sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
  missing=()
}

# Runs a command as root.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# What a build needs: a C compiler (SQLite, librdkafka and libjpeg-turbo are built from source), cmake for libjpeg-turbo and
# nasm for its fast loops on x86, OpenSSL for TLS to Kafka, and Rust.
need_build() {
  need gcc build-essential
  need g++ build-essential
  need make build-essential
  need_file /usr/include/stdio.h build-essential
  need cmake cmake
  case $(uname -m) in x86_64) need nasm nasm ;; esac
  need pkg-config pkg-config
  need_file /usr/include/openssl/ssl.h libssl-dev
  # rustup's comes first, unless it is too old.
  if is_new_enough "$HOME/.cargo/bin/cargo"; then PATH=$HOME/.cargo/bin:$PATH; fi
  if ! is_new_enough cargo; then
    missing+=(cargo-web rustc-web)
    PATH=/usr/bin:$PATH
  fi
}

# newest_deb PACKAGE ARCH: the package that was built last; 66 if there is none.
newest_deb() {
  local deb newest=
  for deb in "${HUEFLOW_DEBS:-target/deb}/$1"_*_"$2".deb; do
    if [ -e "$deb" ] && { [ -z "$newest" ] || [ "$deb" -nt "$newest" ]; }; then newest=$deb; fi
  done
  [ -n "$newest" ] || { echo "there is no $1 for $2 in ${HUEFLOW_DEBS:-target/deb}; first run: ./deploy/package $2" >&2; return 66; }
  echo "$newest"
}

# One target folder for all clones on a machine, so that libraries are built once.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$hueflow_cache/target}
missing=()
