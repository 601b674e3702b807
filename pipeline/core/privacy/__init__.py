"""Rules about personal data that hold in every deployable: consent, fields, addresses, bots, proof
of a user id.
"""
