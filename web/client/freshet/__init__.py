"""The client for Python back ends: sends events to the collector without making its caller wait.

`Freshet(url, write_key).track(...)` validates an event and queues it; a thread sends it in a batch,
and sends it again until the collector has stored it. Delivery is at least once: an event that is
sent again keeps its id, and readers count an id once.

| file | |
|---|---|
| `client.py` | the public class, and its state after a fork and at the end of the process |
| `events.py` | an event as bytes, valid by `contract.py` |
| `contract.py` | the limits and checks of the wire contract |
| `event_queue.py` | the events that wait: bounded, in order, in batches |
| `sender.py`, `retries.py` | the thread that posts batches, and the delay before it posts one again
|
| `undelivered.py` | the report of events that are given up |
| `api.py`, `questions.py` | questions to the API and writes of the catalog; their bodies |
| `user_tokens.py` | the token of a user id, where the collector has `FRESHET_USER_KEY` |
| `settings.py` | the constructor's arguments, validated |
"""

from freshet.api import NoAnswer
from freshet.client import Freshet
from freshet.undelivered import Undelivered
from freshet.user_tokens import user_token

__all__ = ["Freshet", "NoAnswer", "Undelivered", "user_token"]
