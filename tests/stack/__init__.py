"""The local stack: everything Freshet needs from Google Cloud, and Freshet itself, on one machine.

`python -m tests.stack up|down|status|bootstrap|exec`; from Python: `running_stack("name")`, and
`load_env()` to join one that is up.
"""

from tests.stack.environment import NotUp, load_env
from tests.stack.presence import StackError
from tests.stack.stack import APPS, EMULATORS, Stack, running_stack

__all__ = ["APPS", "EMULATORS", "NotUp", "Stack", "StackError", "load_env", "running_stack"]
