"""The commands of `ovocr`: parse, call one function, print. A command imports heavy packages when it runs."""
