#!/bin/sh
# Makes the node image out of kindest/node; runs where the docker command reaches the engine.
# Environment: that of common.sh, LAB_FROM (kindest/node in the engine) and either LAB_METRICS (metrics-server's image in
# the engine) or LAB_METRICS_PROGRAM (the program itself).
set -eu
# shellcheck source=common.sh
. "$LAB_RECIPE/common.sh"
begin
echo "STEP 1/3 the node's own files"
start "$LAB_FROM"
adapt
echo "STEP 2/3 metrics-server into the node"
if [ -n "${LAB_METRICS:-}" ]; then
    docker tag "$LAB_METRICS" "$metrics"
    docker save "$metrics" > archive.tar
    docker rmi "$metrics" > /dev/null
else
    program "$LAB_METRICS_PROGRAM" /metrics-server
    image "$metrics" /metrics-server
    images > archive.tar
fi
load < archive.tar
echo "STEP 3/3 the node image"
finish
