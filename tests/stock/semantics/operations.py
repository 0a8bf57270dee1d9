"""What operations of files come to in the folder that is given: a line `op NAME RESULT` for each.

A result is `ok`, the name of an error, or a word for what is there but wrong.
"""
import ctypes, errno, fcntl, mmap, os, stat, struct, sys, time

LIBC = ctypes.CDLL(None, use_errno=True)
HERE = sys.argv[1]
os.makedirs(HERE)
os.chdir(HERE)
os.umask(0)


def call(name, *arguments):
    result = getattr(LIBC, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def new(name, content=b"content"):
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(fd, content)
    return fd


def check(condition, word):
    if not condition:
        raise AssertionError(word)


def refused(wanted, act):
    try:
        act()
    except OSError as error:
        check(error.errno == wanted, errno.errorcode[error.errno])
        return
    raise AssertionError("allowed")


def unlinked_file():
    fd = new("gone")
    os.unlink("gone")
    check(os.fstat(fd).st_nlink == 0, "links")
    os.lseek(fd, 0, 0)
    check(os.read(fd, 7) == b"content", "content")
    os.ftruncate(fd, 3)
    os.fchmod(fd, 0o600)
    check(os.fstat(fd).st_size == 3, "size")


def unlinked_by_path():
    fd = new("gone2")
    os.unlink("gone2")
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    check(os.read(again, 7) == b"content", "content")


def temporary_file():
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b"x")
    call("linkat", -100, f"/proc/self/fd/{fd}".encode(), -100, b"named", 0x400)
    check(os.path.getsize("named") == 1, "size")


def flock_between_processes():
    fd = new("locked")
    fcntl.flock(fd, fcntl.LOCK_EX)
    child = os.fork()
    if child == 0:
        other = os.open("locked", os.O_RDWR)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os._exit(0)
        os._exit(1)
    check(os.waitpid(child, 0)[1] == 0, "unlocked")


def record_locks_between_processes():
    fd = new("ranges")
    fcntl.lockf(fd, fcntl.LOCK_EX, 3, 0)
    child = os.fork()
    if child == 0:
        other = os.open("ranges", os.O_RDWR)
        fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB, 3, 3)
        try:
            fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2)
        except OSError:
            os._exit(0)
        os._exit(1)
    check(os.waitpid(child, 0)[1] == 0, "unlocked")


def open_description_locks():
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
    fd, other = new("ofd"), os.open("ofd", os.O_RDWR)
    fcntl.fcntl(fd, 37, lock)
    refused(errno.EAGAIN, lambda: fcntl.fcntl(other, 37, lock))


def attributes_of(space):
    def act():
        new("attributes")
        os.setxattr("attributes", f"{space}.one", b"1")
        check(os.getxattr("attributes", f"{space}.one") == b"1", "value")
        check(f"{space}.one" in os.listxattr("attributes"), "list")
        os.removexattr("attributes", f"{space}.one")
    return act


def access_list():
    new("list")
    entries = [(1, 6, -1), (2, 4, 7), (4, 4, -1), (16, 6, -1), (32, 4, -1)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *e) for e in entries)
    os.setxattr("list", "system.posix_acl_access", value)
    check(len(os.getxattr("list", "system.posix_acl_access")) == len(value), "value")


def shared_mapping():
    fd = new("mapped", b"a" * 8192)
    with mmap.mmap(fd, 8192) as memory:
        memory[5000] = ord("b")
        memory.flush()
    check(os.pread(fd, 1, 5000) == b"b", "content")


def private_mapping():
    fd = new("private", b"a" * 8192)
    with mmap.mmap(fd, 8192, mmap.MAP_PRIVATE, mmap.PROT_READ) as memory:
        check(memory[5000] == ord("a"), "content")


def fallocate(mode, then):
    def act():
        fd = new("room", b"a" * 65536)
        LIBC.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
        call("fallocate", fd, mode, 4096, 8192 if mode else 131072)
        check(then(fd), "content")
    return act


def holes():
    fd = os.open("holes", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"x" * 4096, 1 << 20)
    check(os.lseek(fd, 0, os.SEEK_DATA) == 1 << 20, "no-hole")
    check(os.stat("holes").st_blocks * 512 < 1 << 20, "blocks")


def copy_range():
    fd, other = new("from", b"0123456789"), new("to", b"")
    check(os.copy_file_range(fd, other, 10, 0) == 10, "short")
    check(os.pread(other, 20, 0) == b"0123456789", "content")


def direct():
    fd = os.open("direct", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    page[:] = b"d" * 4096
    check(os.writev(fd, [page]) == 4096, "short")
    back = mmap.mmap(-1, 4096)
    check(os.preadv(fd, [back], 0) == 4096 and back[:] == page[:], "content")


def renames(flags, after):
    def act():
        os.close(new("left", b"left"))
        os.close(new("right", b"right"))
        call("renameat2", -100, b"left", -100, b"right", flags)
        check(after(), "names")
    return act


def node(kind, device=0):
    def act():
        name = f"node{kind}"
        os.mknod(name, kind | 0o644, device)
        seen = os.stat(name)
        check(stat.S_IFMT(seen.st_mode) == kind and seen.st_rdev == device, "kind")
    return act


def socket_of_the_guest():
    import socket
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket")
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect("socket")


def fifo_of_the_guest():
    os.mkfifo("fifo")
    fd = os.open("fifo", os.O_RDWR)
    os.write(fd, b"x")
    check(os.read(fd, 1) == b"x", "content")


def set_id_bits_go():
    fd = new("set-id")
    os.chown("set-id", 7, 8)
    os.chmod("set-id", 0o6755)
    child = os.fork()
    if child == 0:
        # Another than root, who keeps them.
        os.chmod("set-id", 0o6777)
        os.setresgid(9, 9, 9)
        os.setresuid(9, 9, 9)
        os.write(os.open("set-id", os.O_WRONLY), b"y")
        os._exit(0)
    check(os.waitpid(child, 0)[1] == 0, "failed")
    check(os.stat("set-id").st_mode & 0o6000 == 0, "kept")


def permissions_count():
    os.close(new("closed"))
    os.chmod("closed", 0o600)
    child = os.fork()
    if child == 0:
        os.setresgid(9, 9, 9)
        os.setresuid(9, 9, 9)
        try:
            os.open("closed", os.O_RDONLY)
        except PermissionError:
            os._exit(0)
        os._exit(1)
    check(os.waitpid(child, 0)[1] == 0, "ignored")


def times():
    os.close(new("times"))
    os.utime("times", ns=(1_000_000_007, 2_000_000_009))
    seen = os.stat("times")
    check((seen.st_atime_ns, seen.st_mtime_ns) == (1_000_000_007, 2_000_000_009), "coarse")


def appends_of_two():
    one, other = (os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND) for _ in range(2))
    for _ in range(50):
        os.write(one, b"1")
        os.write(other, b"2")
    check(open("log").read() == "12" * 50, "lost")


def long_names():
    os.close(new("n" * 255))
    refused(errno.ENAMETOOLONG, lambda: new("n" * 256))


def links():
    os.close(new("first"))
    os.link("first", "second")
    check(os.stat("first").st_ino == os.stat("second").st_ino, "inode")
    check(os.stat("first").st_nlink == 2, "count")


def a_link_to_itself():
    os.symlink("loop", "loop")
    refused(errno.ELOOP, lambda: os.open("loop", os.O_RDONLY))


def directories():
    os.mkdir("tree")
    os.close(new("tree/file"))
    refused(errno.ENOTEMPTY, lambda: os.rmdir("tree"))
    refused(errno.EISDIR, lambda: os.unlink("tree"))
    refused(errno.ENOTDIR, lambda: os.rmdir("tree/file"))


def a_folder_read_while_it_shrinks():
    os.mkdir("many")
    for number in range(300):
        os.close(new(f"many/{number}"))
    for entry in os.scandir("many"):
        os.unlink(f"many/{entry.name}")
    check(os.listdir("many") == [], "left")


def a_removed_working_folder():
    os.mkdir("away")
    fd = os.open("away", os.O_RDONLY)
    os.rmdir("away")
    check(os.fstat(fd).st_nlink == 0, "links")
    refused(errno.ENOENT, lambda: os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=fd))


def handles():
    os.close(new("handle"))
    buffer = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    call("name_to_handle_at", -100, b"handle", buffer, ctypes.byref(mount), 0)
    mount = os.open(HERE, os.O_RDONLY)
    fd = call("open_by_handle_at", mount, buffer, os.O_RDONLY)
    check(os.read(fd, 7) == b"content", "content")


def watched():
    os.mkdir("watched")
    fd = call("inotify_init1", os.O_NONBLOCK)
    call("inotify_add_watch", fd, b"watched", 0x100)
    os.close(new("watched/new"))
    check(b"new" in os.read(fd, 4096), "silent")


def free_space():
    seen = os.statvfs(".")
    check(seen.f_blocks > 0 and seen.f_bfree > 0 and seen.f_namemax == 255, "numbers")


def lease():
    os.close(new("leased"))
    fcntl.fcntl(os.open("leased", os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)


def inode_flags():
    fd = new("flags")
    flags = struct.unpack("I", fcntl.ioctl(fd, 0x80086601, bytes(8))[:4])[0]
    fcntl.ioctl(fd, 0x40086602, struct.pack("Q", flags | 0x80))


OPERATIONS = [
    ("read, write and stat a file that is removed but open", unlinked_file),
    ("open it again through /proc/self/fd", unlinked_by_path),
    ("O_TMPFILE, then linkat", temporary_file),
    ("flock keeps another process out", flock_between_processes),
    ("fcntl record locks keep another process out", record_locks_between_processes),
    ("open file description locks", open_description_locks),
    ("user.* attributes", attributes_of("user")),
    ("trusted.* attributes", attributes_of("trusted")),
    ("access control lists", access_list),
    ("shared mapping, written", shared_mapping),
    ("private mapping, read", private_mapping),
    ("fallocate beyond the end", fallocate(0, lambda fd: os.fstat(fd).st_size == 135168)),
    ("fallocate that punches a hole", fallocate(3, lambda fd: os.pread(fd, 1, 5000) == b"\0")),
    ("fallocate that zeroes a range", fallocate(16, lambda fd: os.pread(fd, 1, 5000) == b"\0")),
    ("holes: SEEK_DATA, few blocks", holes),
    ("copy_file_range", copy_range),
    ("O_DIRECT", direct),
    ("renameat2 RENAME_NOREPLACE refuses", lambda: refused(errno.EEXIST, renames(1, bool))),
    ("renameat2 RENAME_EXCHANGE", renames(2, lambda: open("left").read() == "right")),
    ("renameat2 RENAME_WHITEOUT", renames(4, lambda: stat.S_ISCHR(os.stat("left").st_mode))),
    ("device nodes", node(stat.S_IFCHR, os.makedev(1, 3))),
    ("Unix sockets of the guest", socket_of_the_guest),
    ("pipes of the guest", fifo_of_the_guest),
    ("set-id bits go when another writes", set_id_bits_go),
    ("permissions count for others than root", permissions_count),
    ("times of a nanosecond", times),
    ("two that append", appends_of_two),
    ("names of 255 bytes and not more", long_names),
    ("hard links", links),
    ("a link to itself is ELOOP", a_link_to_itself),
    ("folders: ENOTEMPTY, EISDIR, ENOTDIR", directories),
    ("a folder that shrinks while it is read", a_folder_read_while_it_shrinks),
    ("a removed folder that is open", a_removed_working_folder),
    ("file handles", handles),
    ("inotify, of the guest's own changes", watched),
    ("free space", free_space),
    ("leases", lease),
    ("inode flags (chattr)", inode_flags),
]

for name, act in OPERATIONS:
    try:
        act()
        result = "ok"
    except AssertionError as error:
        result = str(error)
    except OSError as error:
        result = errno.errorcode.get(error.errno, str(error.errno))
    print(f"op {name} = {result}", flush=True)
