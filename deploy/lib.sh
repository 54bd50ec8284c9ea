# Shared by deploy/demo, deploy/package, tests/run and tests/package: what a fresh Debian-like machine needs, and where builds go.
# Sourced, not run.

hueflow_cache=${HUEFLOW_CACHE:-$HOME/.cache/hueflow}

# need COMMAND PACKAGE...: installs the packages where the command is missing.
need() {
  local command=$1
  shift
  # Some programs live where an ordinary user's PATH does not reach.
  PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null && return 0
  missing+=("$@")
}

# Installs what need() found missing, all in one go.
install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "installing: ${missing[*]}" >&2
  local sudo=
  if [ "$(id -u)" != 0 ]; then sudo=sudo; fi
  if ! command -v apt-get >/dev/null; then
    echo "this is not a Debian-like machine: please install ${missing[*]} by hand" >&2
    return 69
  fi
  $sudo apt-get update -qq >&2
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# Runs a command as root.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# What a build needs: a C compiler (SQLite and librdkafka are built from source), OpenSSL for TLS to Kafka, and Rust.
need_build() {
  need gcc build-essential
  need g++ build-essential
  need make build-essential
  need perl perl
  need python3 python3-minimal
  need pkg-config pkg-config
  [ -e /usr/include/openssl/ssl.h ] || missing+=(libssl-dev)
  if [ -x "$HOME/.cargo/bin/cargo" ]; then PATH=$HOME/.cargo/bin:$PATH; fi
  need cargo cargo-web rustc-web
}

# newest_deb PACKAGE ARCH: the package that was built last; 66 if there is none.
newest_deb() {
  local deb newest=
  for deb in target/deb/"$1"_*_"$2".deb; do
    if [ -e "$deb" ] && { [ -z "$newest" ] || [ "$deb" -nt "$newest" ]; }; then newest=$deb; fi
  done
  [ -n "$newest" ] || { echo "there is no $1 for $2 in target/deb; first run: ./deploy/package $2" >&2; return 66; }
  echo "$newest"
}

# One target folder for all clones on a machine, so that libraries are built once.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$hueflow_cache/target}
missing=()
