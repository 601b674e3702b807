"""The client of back ends: sends their events to the collector without ever making them wait.

`Freshet(url, write_key).track(...)` checks an event at once and queues it; a thread sends it in a batch, and again
where it was not stored. Delivery is at least once: what is sent again keeps its id, and whoever reads events counts an
id once.

| file | |
|---|---|
| `freshet.py` | the public class, and what becomes of its clients at a fork and at the end of the process |
| `payloads.py` | an event's check, and its bytes |
| `outbox.py` | the events that wait: bounded, in order, in batches |
| `sender.py`, `retries.py` | the thread that posts them; how long it waits before it posts again |
| `undelivered.py` | what is told of events that are given up |
| `recommendations.py` | the question to the API |
| `settings.py` | the constructor's arguments, checked |

`user_token(key, user_id)` makes the token that a page needs for an account where the collector has `FRESHET_USER_KEY`.
"""

from functions.client.freshet import Freshet
from functions.client.recommendations import NoRecommendations
from functions.client.undelivered import Undelivered
from pipeline.core.user_tokens import user_token

__all__ = ["Freshet", "NoRecommendations", "Undelivered", "user_token"]
