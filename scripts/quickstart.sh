#!/bin/sh
# Trains MulT, plain and wrapped by CausalMER, on SyntheticMER; tests both under every condition; prints one table.
# The two run side by side, one core each. PYTHON, OUT and EPOCHS may be set from outside.
set -eu
PYTHON=${PYTHON:-python}
OUT=${OUT:-runs/quickstart}
EPOCHS=${EPOCHS:-8}
mkdir -p "$OUT"

job() {
  name=$1
  shift
  set -- --config configs/quickstart.yaml --trainer.logger.save_dir="$OUT" --trainer.logger.name="$name" \
    --trainer.logger.version= "$@"
  echo "+ mer-zoo fit $*"
  "$PYTHON" -m mer_zoo fit "$@" --trainer.max_epochs="$EPOCHS" --overwrite=true >"$OUT/$name.log" 2>&1
  echo "+ mer-zoo test $* --ckpt_path $OUT/$name/checkpoints/best.ckpt"
  "$PYTHON" -m mer_zoo test "$@" --ckpt_path "$OUT/$name/checkpoints/best.ckpt" >>"$OUT/$name.log" 2>&1
}

run() {
  job "$@" || { echo "the $1 job failed; the end of $OUT/$1.log:" >&2; tail -n 30 "$OUT/$1.log" >&2; return 1; }
}

run mult &
first=$!
run mult_causalmer --model.wrappers+=CausalMER &
second=$!
wait $first
wait $second
echo "+ mer-zoo report $OUT/mult $OUT/mult_causalmer --out $OUT"
"$PYTHON" -m mer_zoo report "$OUT/mult" "$OUT/mult_causalmer" --out "$OUT"
