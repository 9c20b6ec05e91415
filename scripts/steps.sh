# shellcheck shell=bash
# For the scripts that run several commands, which read this file: --dry-run, steps and their usage.

# Prints the comment at the top of the script, and stops.
usage() {
  sed -n '2,/^[^#]/p' "$0" | sed -n 's/^# \{0,1\}//p' >&2
  exit 2
}

# Removes --dry-run from the words, sets dry_run, and leaves the others in `words`.
read_words() {
  dry_run='' words=()
  for word in "$@"; do
    case $word in
      --dry-run) dry_run=yes ;;
      -h | --help) usage ;;
      *) words+=("$word") ;;
    esac
  done
}

# Prints a command, and runs it if this is not a dry run.
step() {
  local quoted
  printf -v quoted '%q ' "$@"
  echo "\$ ${quoted% }"
  [ -n "$dry_run" ] || "$@"
}
