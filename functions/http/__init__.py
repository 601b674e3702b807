"""Requests and answers over HTTP: bodies, headers, cookies, problems."""
