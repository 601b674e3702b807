"""Google Analytics 4: gtag's hits and the Measurement Protocol."""
