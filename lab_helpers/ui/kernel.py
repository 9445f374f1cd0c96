"""Starts the notebook's kernel in the lab's environment: `python -P -m lab_helpers.ui.kernel -f CONNECTION`.

The environment is worked out when the kernel starts and not when its kernelspec was written: one kernelspec serves
every place (the learner's, that of `lab prove`, those of the tests), whichever program started it. `check`, `hint`,
`watch` and `predict` are there from the first cell on, also after a restart; an error is one line and not a traceback.
"""

from __future__ import annotations

import os


def main() -> None:
    """Run the kernel until it is shut down."""
    from ipykernel.kernelapp import IPKernelApp
    from traitlets.config import Config

    from lab_helpers.core.processes import find_program
    from lab_helpers.core.settings import place
    from lab_helpers.ui.jupyter import install_wrappers, learner_environment

    here = place()
    os.environ.update(learner_environment(here))
    # The `!` lines of the lessons run in one and the same shell, whichever the learner logs in with.
    os.environ["SHELL"] = str(find_program("bash") or "/bin/sh")
    os.environ.setdefault("IPYTHONDIR", str(here.state / "ipython"))
    install_wrappers(here)
    config = Config()
    config.InteractiveShell.xmode = "Minimal"
    config.InteractiveShellApp.exec_lines = ["from lab_helpers import check, goto, hint, predict, watch"]
    IPKernelApp.launch_instance(config=config)


if __name__ == "__main__":
    main()
