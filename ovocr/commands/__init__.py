"""The commands of `ovocr`: parse, call one function, print. Each imports the heavy packages it needs when it runs."""
