#!/bin/sh
# make_home.sh ROOT RUNTIME CHANGES PYTHON REPOSITORY HOME.TAR: an NTT home whose database is made, by the machine's
# own root file system, so that its users and its PostgreSQL are the machine's. Its mounts are for nobody else.
set -eu
root=$1 runtime=$2 changes=$3 python=$4 repository=$5 made=$6 here=$(dirname "$0")
mount -t tmpfs tmpfs "$changes"
mkdir "$changes/below" "$changes/upper" "$changes/work" "$changes/all"
mount -o loop,ro "$root" "$changes/below"
mount -t overlay -o "lowerdir=$changes/below,upperdir=$changes/upper,workdir=$changes/work" overlay "$changes/all"
cp "$here/appear.sh" "$changes/all/appear.sh"
cd "$changes/all"
mount -t proc proc proc
mount --rbind /dev dev
mkdir -p media/runtime ".$repository"
mount -o loop,ro "$runtime" media/runtime
chroot . /bin/sh /appear.sh /media/runtime
cp -a "$repository/ntt" "$repository/schema.sql" ".$repository/"
chroot . "$python" - /home-template <<'MAKE'
import asyncio, asyncpg, sys
from pathlib import Path
from ntt.db.embedded import embedded_server
from ntt.db.schema import ensure_schema

async def make(home):
    async with embedded_server(home, None) as url:
        connection = await asyncpg.connect(url)
        await ensure_schema(connection, create=True)
        await connection.close()

asyncio.run(make(Path(sys.argv[1])))
MAKE
tar -C home-template --numeric-owner -cf "$made" .
