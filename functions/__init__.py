"""The collector: the HTTP door through which every event enters Freshet."""
