#!/bin/bash
# Builds the runner image from a bcvk that is built already.
#
#   runner/build.sh BCVK [IMAGE [ARG=VALUE]...]
#
# IMAGE is localhost/bcvk-runner:VERSION if it is not given. Each ARG=VALUE is a build argument of
# runner/Containerfile.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
bcvk=${1:?usage: runner/build.sh BCVK [IMAGE [ARG=VALUE]...]}
version=$("$bcvk" --version)
version=${version##* }
image=${2:-localhost/bcvk-runner:$version}

args=(VERSION="$version" "${@:3}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$bcvk" "$work/bcvk"
# With chroot isolation, RUN needs neither an OCI runtime nor cgroups, and works on machines that
# restrict them.
podman build --quiet --isolation chroot --network host --pull=missing --layers=false \
    "${args[@]/#/--build-arg=}" --tag "$image" --file "$here/Containerfile" "$work" >/dev/null
printf '%s\n' "$image"
