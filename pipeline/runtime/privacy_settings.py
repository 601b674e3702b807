"""Privacy settings of the environment; collector and API read the same."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.core.privacy.consent import DENIED, GRANTED
from pipeline.core.privacy.field_policy import FieldPolicy, InvalidPolicy
from pipeline.core.privacy.policy import Privacy
from pipeline.runtime.environ import InvalidConfig, choice, names, secret_key

DEFAULT_CONSENTS = {"granted": GRANTED, "denied": DENIED}
SIGNALS = {"honour": True, "ignore": False}
UNREADABLE: dict[str, bool | None] = {"keep": True, "drop": False}
FIELD_VARIABLES = {
    "drop": "FRESHET_DROP_FIELDS",
    "hash": "FRESHET_HASH_FIELDS",
    "key": "FRESHET_FIELD_KEY",
}
"""Variable of each argument of `FieldPolicy`."""


def privacy_from_env(environ: Mapping[str, str]) -> Privacy:
    """Read `FRESHET_DEFAULT_CONSENT`, `FRESHET_SIGNALS`, `FRESHET_USER_KEY` and the variables of
    fields.

    Raises:
        InvalidConfig: naming the variable and what was expected of it.
    """
    user_key = secret_key(environ, "FRESHET_USER_KEY")
    return Privacy(
        default=choice(environ, "FRESHET_DEFAULT_CONSENT", DEFAULT_CONSENTS, default=GRANTED),
        signals=choice(environ, "FRESHET_SIGNALS", SIGNALS, default=True),
        fields=field_policy_from_env(environ, proves_users=user_key is not None),
        user_key=user_key,
    )


def field_policy_from_env(environ: Mapping[str, str], *, proves_users: bool = False) -> FieldPolicy:
    """Read `FRESHET_DROP_FIELDS`, `FRESHET_HASH_FIELDS`, `FRESHET_FIELD_KEY` and
    `FRESHET_UNREADABLE`.

    Args:
        environ: the environment.
        proves_users: whether user ids are proved by tokens, which are fields to drop, too.

    Raises:
        InvalidConfig: naming the variable and what was expected of it.
    """
    try:
        return FieldPolicy(
            drop=names(environ, FIELD_VARIABLES["drop"]),
            hash=names(environ, FIELD_VARIABLES["hash"]),
            key=secret_key(environ, FIELD_VARIABLES["key"]),
            keeps_unreadable=choice(
                environ, "FRESHET_UNREADABLE", UNREADABLE, default=False if proves_users else None
            ),
        )
    except InvalidPolicy as error:
        raise InvalidConfig(f"{FIELD_VARIABLES[error.argument]}: {error.reason}") from None
