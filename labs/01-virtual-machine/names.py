"""What the lesson, its checks and its near misses call things."""

VM = "pinboard-vm"
MEMORY_MIB = 640
CPUS = 2
HOST_PORT = 8001
GUEST_PORT = 8000
