# SPDX-License-Identifier: Apache-2.0
# Shared by the scripts of this folder; sourced, never run.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# One folder for everything that is built: daemon, tests, rival, tools.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$top/target}
export WEFT_BIN_DIR=${WEFT_BIN_DIR:-$CARGO_TARGET_DIR/ci}
export WEFT_TOOLS_DIR=${WEFT_TOOLS_DIR:-$CARGO_TARGET_DIR/tools}

script=${0##*/}

say() { printf '%s: %s\n' "$script" "$*"; }
warn() { printf '%s: %s\n' "$script" "$*" >&2; }
fail() {
    warn "$*"
    exit 1
}

need_root() { [ "$(id -u)" = 0 ] || fail "needs root ($1); run it with sudo"; }

# Cargo installed by rustup, also for a shell that never read a profile.
find_cargo() {
    command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
    command -v cargo >/dev/null || fail "cargo was not found; install Rust 1.95 or later with rustup"
}

# at_exit COMMAND... : runs it when the script ends, however it ends; last given first.
_at_exit=()
at_exit() { _at_exit=("$*" "${_at_exit[@]}"); }
_run_at_exit() {
    local status=$? command
    trap - EXIT INT TERM HUP
    set +e
    for command in "${_at_exit[@]}"; do eval "$command"; done
    exit "$status"
}
trap _run_at_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
