#!/usr/bin/env bash
# Downloads CLUE's public zips, tests and unpacks them, each into a folder of its own, and lists the
# tasks that were found. What is there already is skipped; a broken download is continued.
#
#   scripts/download_clue.sh [--dry-run] FOLDER [ZIP ...]
#
# ZIP is one of afqmc tnews iflytek ocnli cluewsc2020 csl cmrc2018 chid c3 (the leaderboard's), cmnli
# drcd cluener clue_diagnostics; all by default. CLUE_URL is another place of the zips, such as a
# mirror. Needs curl. About 200 MB, of which ChID has 140: minutes on any machine. CLUE publishes no
# checksums: a zip is tested for damage only.
set -euo pipefail
source "$(dirname "$0")/steps.sh"
read_words "$@"
[ ${#words[@]} -ge 1 ] || usage
folder=${words[0]}
zips=("${words[@]:1}")
known=(afqmc tnews iflytek ocnli cluewsc2020 csl cmrc2018 chid c3 cmnli drcd cluener clue_diagnostics)
[ ${#zips[@]} -gt 0 ] || zips=("${known[@]}")
url=${CLUE_URL:-https://storage.googleapis.com/cluebenchmark/tasks}
for zip in "${zips[@]}"; do
  [[ " ${known[*]} " == *" $zip "* ]] || { echo "unknown zip $zip. Known: ${known[*]}" >&2; exit 2; }
done
[ -n "$dry_run" ] || mkdir -p "$folder"
for zip in "${zips[@]}"; do
  if [ -d "$folder/$zip" ]; then
    echo "$folder/$zip is there already"
    continue
  fi
  file=$folder/${zip}_public.zip
  step curl --fail --location --continue-at - --output "$file.part" "$url/${zip}_public.zip" || {
    echo "$url/${zip}_public.zip cannot be downloaded. Set CLUE_URL to a mirror, or download the" \
      "zip yourself and unpack it to $folder/$zip (docs/en/clue.md)" >&2
    exit 1
  }
  step python3 -m zipfile -t "$file.part" 2> /dev/null || {
    echo "$file.part is damaged. Remove it and repeat the command" >&2
    exit 1
  }
  step python3 -m zipfile -e "$file.part" "$folder/$zip.part"
  step mv "$folder/$zip.part" "$folder/$zip"
  step rm "$file.part"
done
step electra-zh tasks --data "$folder"
