
BxJDAΕ ΐDΕί>kΖ