"""The steps, each on the emulators and a script of messages."""
