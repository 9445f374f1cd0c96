cd /tmp/w/board
timeout 200 /work/main/.venv/bin/python -m pytest -q -p no:cacheprovider tests/course/test_resume.py -k only_the_container --durations=4
timeout 200 /work/main/.venv/bin/python -m pytest -q -p no:cacheprovider tests/record/test_engine_events.py --durations=4
