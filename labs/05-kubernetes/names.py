"""What the lesson, its checks and its near misses call things."""

CLUSTER = "pinboard"
IMAGE = "pinboard:1"
DEPLOYMENT = "pinboard"
SERVICE = "pinboard"
NAMESPACE = "default"
PORT = 8000
REPLICAS = 3
WORKERS = 2
SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")
"""What the cluster needs for itself."""
