# What both ways to the node image share; read by assemble.sh and derive.sh.
# Environment: LAB_RECIPE (this folder), LAB_SCRATCH (a folder to work in, which no other maker has), LAB_TAG (what to
# make), LAB_BEGAN (when the work began, in seconds since the epoch), LAB_KEY and LAB_WAY (for its labels), LAB_ARCH.
unset CDPATH
# On whatever is only needed while this runs. Who has another folder to work in is left alone.
mine="vm-to-kubernetes.node-image-in=$(printf %s "$LAB_SCRATCH" | sha256sum | cut -c 1-12)"
metrics=lab.local/metrics-server:v0.9.0

remove() {
    docker ps -aq --filter "label=$mine" | xargs -r docker rm -fv > /dev/null
    docker images -q --filter "label=$mine" | sort -u | xargs -r docker rmi -f > /dev/null
    # An older node image has no name any more; one that a cluster runs on stays.
    docker images -q --filter dangling=true --filter "label=vm-to-kubernetes=node image" | xargs -r docker rmi > /dev/null 2>&1 || true
    rm -rf "$LAB_SCRATCH"
}

# Begins with nothing, also after a build that was killed; ends with nothing, whatever happens.
begin() {
    trap 'exit 1' INT TERM
    remove
    trap remove EXIT
    mkdir -p "$LAB_SCRATCH/archive"
    cd "$LAB_SCRATCH"
}

# program FILE PATH: puts a program into the folder `root`, which becomes an image.
program() {
    mkdir -p "root$(dirname "$2")" root/tmp
    chmod 1777 root/tmp
    cp "$1" "root$2"
}

# image NAME [ENTRYPOINT]: makes an image for the node out of `root`, which is emptied. The images never enter this
# engine: they are written as `docker save` would.
count=0
manifest=
image() {
    count=$((count + 1))
    tar -C root --owner=0 --group=0 --numeric-owner --sort=name -cf "archive/$count.tar" .
    rm -rf root
    layer=$(sha256sum "archive/$count.tar" | cut -d ' ' -f 1)
    cat > "archive/$count.json" << CONFIG
{"architecture": "$LAB_ARCH", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]},
 "config": {"Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]${2:+, \"Entrypoint\": [\"$2\"]}}}
CONFIG
    manifest="${manifest:+$manifest, }{\"Config\": \"$count.json\", \"RepoTags\": [\"$1\"], \"Layers\": [\"$count.tar\"]}"
}

# All that `image` made, as one archive.
images() {
    echo "[$manifest]" > archive/manifest.json
    tar -C archive -cf - .
}

# start IMAGE: starts the container that becomes the node image. systemd in a node shuts down on the signal that is set
# here and is committed with the container; any other one it does not hear, and `docker stop` would wait for 10 s.
start() { box=$(docker run -d --stop-signal SIGRTMIN+3 --security-opt seccomp=unconfined --label "$mine" --entrypoint sleep "$1" infinity); }

# What the course changes in either node.
adapt() {
    docker exec "$box" mkdir -p /etc/kubernetes/kubelet.conf.d
    docker exec -i "$box" sh -c 'cat > /etc/kubernetes/kubelet.conf.d/10-cgroup.conf' < "$LAB_RECIPE/kubelet.conf"
    docker exec -i "$box" sh -c 'cat >> /kind/manifests/default-storage.yaml' < "$LAB_RECIPE/manifests/metrics-server.yaml"
    docker exec -i "$box" sh -s < "$LAB_RECIPE/adapt.sh"
}

# Puts an archive of images, from stdin, into the node.
load() {
    docker exec -d "$box" sh -c 'containerd > /run/containerd.log 2>&1'
    tries=0
    until docker exec "$box" ctr version > /dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || { docker exec "$box" cat /run/containerd.log; exit 1; }
        sleep 0.2
    done
    docker exec -i "$box" ctr -n k8s.io images import --label=io.cri-containerd.pinned=pinned --no-unpack --digests - > /dev/null
    docker exec "$box" sh -c 'kill $(pidof containerd); while pidof containerd > /dev/null; do sleep 0.1; done; rm -rf /run/containerd*'
}

finish() {
    docker commit -c 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' -c 'ENV container=docker' \
        -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' -c "LABEL ${mine%%=*}=\"\"" \
        -c "LABEL vm-to-kubernetes=\"node image\" vm-to-kubernetes.key=\"$LAB_KEY\" vm-to-kubernetes.way=\"$LAB_WAY\" vm-to-kubernetes.seconds=$(($(date +%s) - LAB_BEGAN))" \
        "$box" "$LAB_TAG" > /dev/null
}
