# Programs that use files hard, in the folder $1: with the Git repository $2 a line `op NAME = ok|fails|long` for each (long:
# not over after five minutes); without one, stress-ng.
cd "$1" || exit 1
export HOME=/tmp GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
try() {
    local name=$1 end=$((SECONDS + 300)) word=ok; shift
    ("$@") >/tmp/log 2>&1 &
    # A program that waits for its file system for ever cannot be ended, and is not waited for.
    while kill -0 $! 2>/dev/null && [ $SECONDS -lt $end ]; do sleep 0.5; done
    if kill -9 $! 2>/dev/null; then word=long; elif ! wait $!; then word=fails; fi
    echo "op $name = $word"
    [ $word = ok ] || tail -n 20 /tmp/log
}

verify() {
    mkdir fio
    fio --directory=fio --size=2m --verify=crc32c --verify_fatal=1 --do_verify=1 --group_reporting \
        --name=random --rw=randrw --bs=4k --ioengine=psync \
        --name=direct --stonewall --rw=write --bs=64k --ioengine=psync --direct=1 \
        --name=mapped --stonewall --rw=randwrite --bs=4k --ioengine="$MAPPED"
}

repository() {
    set -e
    git clone -q --no-local "$1" tree; cd tree
    test -z "$(git status --porcelain)"
    git checkout -q -b other; git rm -q -r docs; git commit -q -m other
    test ! -e docs; test -z "$(git status --porcelain)"
    git checkout -q -; test -d docs; test -z "$(git status --porcelain)"
    echo change >>README.md; git status --porcelain | grep -q ' M README.md'
    git stash -q; git stash pop -q; git checkout -q README.md
    git fsck --no-progress --connectivity-only
}

# Every kind of file, with its mode, owner, time, links and attributes, and what a tree is made of otherwise.
archive() {
    set -e
    mkdir -p kinds/empty; cd kinds
    echo text >plain; ln plain hard; ln -s plain soft; ln -s nowhere dangling; mkfifo pipe; mknod null c 1 3
    truncate -s 1M sparse; printf x | dd of=sparse bs=1 seek=500000 conv=notrunc
    touch -d 2001-02-03T04:05:06.789 old; install -m 4750 -o 7 -g 8 /dev/null owned
    setfattr -n user.word -v value plain
    cd ..
    tar --xattrs --sparse -cf /tmp/a.tar kinds -C / etc/alternatives etc/pam.d
    mkdir out; tar --xattrs --sparse -xpf /tmp/a.tar -C out
    # Linux's 9p client sets times to the second, which is among the operations; here they count as far as that.
    list() { (cd "$1" && find "$2" ! -type d -printf '%P %y %m %U:%G %s %T@ %n %l\n' | sed -E 's/ ([0-9]{9,10})\.[0-9]+ / \1 /' | sort); }
    list . kinds >/tmp/before; list out kinds >/tmp/after; diff /tmp/before /tmp/after
    for part in alternatives pam.d; do diff -r --no-dereference /etc/$part out/etc/$part; done
    getfattr -n user.word --only-values out/kinds/plain | grep -q value
}

# Four processes that write to one database at once; then all is there.
database() {
    set -e
    sqlite3 "$1" "pragma journal_mode=$2; create table t (who, n)" | grep -qx "$2"
    for who in 1 2 3 4; do
        for n in $(seq 20); do echo "insert into t values ($who, $n);"; done >/tmp/sql$who
        sqlite3 -cmd '.timeout 120000' "$1" <"/tmp/sql$who" &
    done
    wait
    test "$(sqlite3 "$1" 'select count(*), count(distinct who || "," || n) from t')" = '80|80'
    sqlite3 "$1" 'pragma integrity_check' | grep -qx ok
}

if [ $# = 2 ]; then
    try "fio --verify" verify
    try "git clone, checkout, status" repository "$2"
    try "tar, there and back" archive
    try "sqlite, four writers" database rollback.db delete
    try "sqlite, four writers, WAL" database wal.db wal
else
    # What is not about a mounted folder is left out.
    mkdir stress
    stress-ng --class filesystem --sequential 1 --timeout 1 --temp-path stress --oomable \
        -x bind-mount,binderfs,procfs,dup,eventfd,ioprio,fanotify,verity,handle,filename >/tmp/log 2>&1
    echo "stress-ng ended with $?"
    grep -c dispatching /tmp/log | sed 's/^/stressors: /'
    grep -vE 'dispatching|setting to a|defaulting' /tmp/log | sed 's/^/stress: /' | head -n 80
fi
