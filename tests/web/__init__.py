"""The browser side, driven in headless Chromium."""
