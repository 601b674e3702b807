"""The pure core: no Beam, no Google client, no clock, no environment."""
