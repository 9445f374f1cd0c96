"""What the lesson, its checks and its near misses call things."""

IMAGE = "pinboard:1"
HOST_PORT = 8002
CONTAINER_PORT = 8000
MEMORY_MIB = 128
CPUS = 0.5
PROCESSES = 64
LIVE = "pinboard-live"
"""The container, and the volume, of the incidents."""
LIVE_PORT = 8022
