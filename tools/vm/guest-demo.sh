#!/bin/sh
# SPDX-License-Identifier: MIT
# guest-demo.sh SETTINGS: the guest's part of the demonstration; see demo.
set -eu
cd "$TOP"
. "$TOP/$1" # dir batch epochs steps images
data=/usr/share/datasets/fashion-mnist
for place in /usr/share/dataset-fashion-mnist /usr/share/datasets/fashion-mnist /usr/share/*/fashion-mnist; do
	[ ! -d "$place" ] || data=$place
done
rdu info
rdu train "$dir/cnn.rdu" --data "$data" --epochs "$epochs" --steps "$steps" \
	--checkpoint "$dir/trained.rdu" --loss-curve "$dir/loss_curve.svg" \
	--trace "$dir/timeline.json" --stats "$dir/train.txt" \
	--test-labels "$dir/labels.txt" --test-count "$images"
rdu stat
