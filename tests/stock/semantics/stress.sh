# What becomes of stress-ng's stressors in the folder $1: a line `op NAME = WORD` for each. Those that do not end after a
# few operations where instructions are emulated are left out, and those that are not about a mounted folder.
cd "$1" || exit 1
export HOME=/tmp
for name in access chattr chdir chmod chown copy-file dir dirdeep dnotify fallocate fcntl fiemap file-ioctl flock \
    fpunch fsize fstat getdent hdd inode-flags inotify io lease locka lockf lockofd mknod open readahead rename \
    sync-file touch utime xattr; do
    mkdir "$name"
    timeout -k 5 30 stress-ng --"$name" 1 --"$name-ops" 3 --timeout 1 --temp-path "$name" --oomable --verify \
        >/tmp/log 2>&1
    case $? in
        0) if grep -q skipp /tmp/log; then word=skipped; else word=ok; fi ;;
        2) word=fails ;;
        3) word=resource ;;
        4) word=skipped ;;
        124|137) word=long ;;
        *) word=unknown ;;
    esac
    echo "op $name = $word"
    [ $word = ok ] || grep -E 'fail|skip|not |unsupp|error' /tmp/log | head -n 3 | sed 's/^/why: /'
    rm -rf "$name"
done
