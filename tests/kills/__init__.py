"""What a kill -9 at any moment leaves whole."""

import pytest

pytest.register_assert_rewrite("tests.kills.scene")
