"""Build-time data: prices from genai-prices and hand-kept capabilities, frozen into the bundle's `catalogue.json`."""
