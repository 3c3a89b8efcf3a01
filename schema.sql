-- NTT's catalogue. Read top to bottom: media, what is on them, what is kept, what happened.
-- Version 5. A program that meets another version stops and names `ntt db upgrade`.

CREATE TABLE ntt_schema (
    version     int NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO ntt_schema (version) VALUES (5);

-- ---------------------------------------------------------------- media

CREATE TABLE medium (
    id              int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    medium_hash     text NOT NULL UNIQUE CHECK (medium_hash ~ '^[0-9a-f]{32}$'),
    identity        text NOT NULL CHECK (identity IN ('natural', 'look-alike', 'assigned')),
    sample_hash     text,                     -- shared by look-alikes; NULL: no natural identity
    medium_human    text,                     -- what a person calls it: label given, else file name
    added_at        timestamptz NOT NULL DEFAULT now(),
    image_path      text,                     -- NULL once the image is gone
    image_hash      text NOT NULL CHECK (image_hash ~ '^[0-9a-f]{64}$'),
    image_bytes     bigint NOT NULL,
    claimed_bytes   bigint NOT NULL,          -- image and map together; more than image_bytes if cut short
    unread          int8multirange NOT NULL DEFAULT '{}',  -- bytes of the medium that no pass has read
    unread_bytes    bigint NOT NULL DEFAULT 0,
    health          text NOT NULL CHECK (health IN ('ok', 'incomplete', 'corrupt', 'failed')),
    map_text        text,                     -- the ddrescue map as it was given, or as NTT's own passes left it
    enum_done       timestamptz,
    copy_done       timestamptz,
    archive_done    timestamptz,
    archive_path    text,
    archive_bytes   bigint,
    archived_image_hash text,                 -- BLAKE3 of the image as it was read back out of the archive
    message         text,
    problems        jsonb,                    -- bounded summary; NULL: nothing at all was found
    archive_checked timestamptz,              -- when the archive was last read back and found as it should be
    backfilled      text[] NOT NULL DEFAULT '{}',  -- stamps that `ntt repair` set from proof, after the fact
    cells           bytea,                    -- the surface in 4,096 equal parts: 1 structures, 2 files, 4 free space
    CHECK (copy_done IS NULL OR (enum_done IS NOT NULL AND copy_done >= enum_done)),
    CHECK (archive_done IS NULL OR (copy_done IS NOT NULL AND archive_done >= enum_done
                                    AND archived_image_hash IS NOT DISTINCT FROM image_hash))
);
CREATE INDEX medium_sample_hash ON medium (sample_hash);
CREATE INDEX medium_image_hash ON medium (image_hash);

-- Single samples find the earlier pass over a medium whose other samples were unreadable then.
CREATE TABLE medium_sample (
    medium_id   int NOT NULL REFERENCES medium ON DELETE CASCADE,
    position    bigint NOT NULL,
    digest      bytea NOT NULL,
    PRIMARY KEY (medium_id, position)
);
CREATE INDEX medium_sample_digest ON medium_sample (digest);

-- What ddrescue did for a medium, pass by pass, and through which hardware: provenance, never identity.
CREATE TABLE image_pass (
    medium_id   int NOT NULL REFERENCES medium ON DELETE CASCADE,
    began_at    timestamptz NOT NULL,
    seconds     double precision NOT NULL,
    name        text NOT NULL,                -- copy, structures, files, ...: what it was to read
    source      text NOT NULL,
    hardware    jsonb NOT NULL DEFAULT '{}',  -- model, serial, bridge VID:PID, ... as far as they could be had
    wanted_bytes bigint NOT NULL,             -- of the unread bytes, those that it was to read
    rescued_before bigint NOT NULL,
    rescued_after bigint NOT NULL,
    bad_bytes   bigint NOT NULL,              -- tried and not read, after it
    read_errors bigint NOT NULL,
    reason      text NOT NULL,                -- why it ended: finished, no_progress, source_gone, ...
    detail      text NOT NULL DEFAULT '',
    PRIMARY KEY (medium_id, began_at)
);

-- Every time a medium was presented, also when it was known: the second of two equal discs is not lost.
CREATE TABLE sighting (
    medium_id   int NOT NULL REFERENCES medium ON DELETE CASCADE,
    seen_at     timestamptz NOT NULL DEFAULT now(),
    source      text NOT NULL,
    label       text,
    run_id      text NOT NULL
);
CREATE INDEX sighting_medium ON sighting (medium_id);

-- What `ntt watch` was fed, in order, whatever became of it: blank, audio, refused and unreadable media too.
CREATE TABLE insertion (
    id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session     text NOT NULL,                -- the run that saw it
    sequence    int NOT NULL,                 -- of the session, from 1
    inserted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    drive       text NOT NULL,                -- what people call it, and its node
    disc        text NOT NULL DEFAULT '',     -- what its own table of contents says: data, audio CD, blank, ...
    label       text,                         -- given by the operator
    box         text,
    medium_id   int REFERENCES medium ON DELETE SET NULL,
    verdict     text CHECK (verdict IN ('complete', 'problems', 'known', 'failed')),  -- NULL: not ended
    summary     text NOT NULL DEFAULT '',
    ended_at    timestamptz,
    ejected_at  timestamptz,                  -- the tray was seen open, or the stick may be pulled
    UNIQUE (session, sequence)
);
CREATE INDEX insertion_medium ON insertion (medium_id);

CREATE TABLE volume (
    medium_id   int NOT NULL REFERENCES medium ON DELETE CASCADE,
    index       smallint NOT NULL,
    scheme      text NOT NULL,
    offset_bytes bigint NOT NULL,
    size_bytes  bigint NOT NULL,
    fstype      text NOT NULL,
    route       text NOT NULL,
    label       text NOT NULL,
    status      text NOT NULL CHECK (status IN ('read', 'finding')),
    finding     text NOT NULL,
    next_step   text NOT NULL,
    session_bytes bigint NOT NULL DEFAULT 0,  -- of an ISO session: where it begins, from offset_bytes
    sector_bytes int NOT NULL DEFAULT 0,      -- 2352, 2448: raw sectors, with 2048 bytes of user data at data_at
    data_at     int NOT NULL DEFAULT 0,
    tried       text[] NOT NULL DEFAULT '{}', -- routes that did not read it, each with its reason
    unread_used int8multirange,               -- unread bytes in use by the file system's own account; NULL: it has none
    PRIMARY KEY (medium_id, index)
);

-- ---------------------------------------------------------------- what is on them
-- The big tables hold no foreign keys: a trigger per row would cost more than the row. Rows of one
-- medium come and go only in the load transaction, which holds the medium; `ntt audit` proves the rest.

CREATE TABLE node (                           -- an inode; never updated
    ino         bigint NOT NULL,
    size        bigint NOT NULL,
    mtime_s     bigint NOT NULL,              -- seconds from 1970 UTC, may be negative
    first_byte  bigint NOT NULL,              -- image offset of the first content byte, -1: none
    medium_id   int NOT NULL,
    mtime_ns    int NOT NULL,
    mode        int NOT NULL,                 -- with the type bits of stat(2)
    uid         bigint NOT NULL,
    gid         bigint NOT NULL,
    volume      smallint NOT NULL,            -- partition or session: part of the key
    link_target bytea NOT NULL,               -- of a symbolic link; 'major:minor' of a device; else empty
    PRIMARY KEY (medium_id, volume, ino)
);

CREATE TABLE name (                           -- a directory entry; hard links have several for one node
    ino         bigint NOT NULL,
    parent_ino  bigint NOT NULL,              -- the root is its own parent and has an empty name
    medium_id   int NOT NULL,
    volume      smallint NOT NULL,
    flags       smallint NOT NULL,            -- bit 0: the directory holds this name more than once; bit 1: names a directory
    name        bytea NOT NULL                -- as on the medium, byte for byte
);
CREATE INDEX name_parent ON name (medium_id, volume, parent_ino);  -- equal keys are stored once: about 8 bytes a name
CREATE INDEX name_directory ON name (medium_id, volume, ino) WHERE (flags & 2) <> 0;
-- Finds a name, or how names begin, in milliseconds: 15 bytes of key however long a name is, about 26 bytes a name.
CREATE INDEX name_text ON name ((substr(name, 1, 13) || substr(sha256(name), 1, 2)));

CREATE TABLE unread_structure (               -- what of a file system itself lies on unread bytes of the medium
    medium_id   int NOT NULL,
    volume      smallint NOT NULL,
    ino         bigint NOT NULL,              -- directory or file it belongs to, -1: the volume's own
    what        text NOT NULL,                -- inode table, FAT, directory, ...
    spare       boolean NOT NULL,             -- nothing is missed as long as it alone is unread
    ranges      int8multirange NOT NULL       -- of the image
);
CREATE INDEX unread_structure_medium ON unread_structure (medium_id);

CREATE TABLE node_attribute (                 -- what few inodes have besides: Finder info, DOS attributes
    medium_id   int NOT NULL,
    volume      smallint NOT NULL,
    ino         bigint NOT NULL,
    name        text NOT NULL,                -- as an extended attribute: com.apple.FinderInfo, dos.attributes
    value       bytea NOT NULL,
    PRIMARY KEY (medium_id, volume, ino, name)
);

-- ---------------------------------------------------------------- what is kept

CREATE TABLE pack (
    id          int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    committed_bytes bigint NOT NULL DEFAULT 0,  -- what lies behind this is cut off at the next start
    sealed      boolean NOT NULL DEFAULT false
);

CREATE TABLE blob (
    id          bigint GENERATED ALWAYS AS IDENTITY (CACHE 100) PRIMARY KEY,
    size        bigint NOT NULL,
    pack_id     int,                          -- NULL: a plain file <store>/blobs/<aa>/<bb>/<hash>
    pack_offset int,                          -- of the content, behind its tar header
    last_checked timestamptz,                 -- when its content was last read and found as it should be; NULL: not since it was stored
    hash        bytea NOT NULL UNIQUE CHECK (length(hash) = 32),   -- BLAKE3
    CHECK ((pack_id IS NULL) = (pack_offset IS NULL))
);

CREATE TABLE outcome (                        -- what became of a regular file; no row: still pending
    ino         bigint NOT NULL,
    blob_id     bigint,
    medium_id   int NOT NULL,
    volume      smallint NOT NULL,
    attempts    smallint NOT NULL DEFAULT 1,
    status      "char" NOT NULL,              -- 'c' copied, 'd' damaged, 'f' failed
    reason      text,
    damaged     int8multirange,               -- unread byte ranges of the file
    unread      int8multirange,               -- of the image: what damaged it, or made it fail
    PRIMARY KEY (medium_id, volume, ino),
    CONSTRAINT outcome_is_true CHECK (CASE status
        WHEN 'c' THEN blob_id IS NOT NULL AND damaged IS NULL AND reason IS NULL
        WHEN 'd' THEN blob_id IS NOT NULL AND damaged IS NOT NULL AND NOT isempty(damaged)
        WHEN 'f' THEN blob_id IS NULL AND reason IS NOT NULL
        ELSE false END)
);
CREATE INDEX outcome_blob ON outcome (blob_id) WHERE blob_id IS NOT NULL;  -- which files hold a content

-- ---------------------------------------------------------------- what happened

CREATE TABLE stage_run (                      -- attempted and completed are different facts
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    medium_id   int REFERENCES medium ON DELETE CASCADE,
    stage       text NOT NULL,
    run_id      text NOT NULL,
    host        text NOT NULL,
    pid         int NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at    timestamptz,
    state       text NOT NULL DEFAULT 'running'
                CHECK (state IN ('running', 'ok', 'failed', 'cancelled', 'interrupted')),
    seconds     double precision,
    counts      jsonb NOT NULL DEFAULT '{}',
    error       text
);
CREATE INDEX stage_run_medium ON stage_run (medium_id, id);

CREATE TABLE finding (                        -- what is wrong with a medium now; a re-run of the stage replaces it
    medium_id   int NOT NULL REFERENCES medium ON DELETE CASCADE,
    stage       text NOT NULL,
    kind        text NOT NULL,
    volume      smallint,
    ino         bigint,
    name        bytea,
    detail      text NOT NULL,
    next_step   text NOT NULL DEFAULT ''
);
CREATE INDEX finding_medium ON finding (medium_id);

CREATE TABLE diagnostic_event (               -- append-only history of single failing files
    at          timestamptz NOT NULL,
    medium_id   int NOT NULL,
    volume      smallint NOT NULL,
    ino         bigint NOT NULL,
    retry_count int NOT NULL,
    checks      text[] NOT NULL,
    action      text NOT NULL CHECK (action IN ('skipped', 'remounted', 'continuing', 'max_retries')),
    worker_id   text NOT NULL,
    exception_type text,
    exception_msg  text
);
CREATE INDEX diagnostic_event_medium ON diagnostic_event (medium_id, at);

-- ---------------------------------------------------------------- how people ask

CREATE VIEW inode AS
SELECT n.medium_id || '.' || n.volume || '.' || n.ino AS id,
       m.medium_hash, n.volume, n.ino, n.size, n.mode, n.uid, n.gid, n.mtime_s, n.mtime_ns, n.link_target,
       CASE n.mode & 61440 WHEN 32768 THEN 'file' WHEN 16384 THEN 'directory' WHEN 40960 THEN 'link'
            WHEN 4096 THEN 'fifo' WHEN 8192 THEN 'chardev' WHEN 24576 THEN 'blockdev' WHEN 49152 THEN 'socket'
            ELSE 'other' END AS type,
       coalesce(o.status = 'c', false) AS copied,
       CASE o.status WHEN 'c' THEN 'copied' WHEN 'd' THEN 'damaged' WHEN 'f' THEN 'failed' END AS status,
       o.reason, o.damaged, o.blob_id, encode(b.hash, 'hex') AS blobid
FROM node n JOIN medium m ON m.id = n.medium_id
LEFT JOIN outcome o ON o.medium_id = n.medium_id AND o.volume = n.volume AND o.ino = n.ino
LEFT JOIN blob b ON b.id = o.blob_id;

-- The path of a directory, from the volume's root, without a leading slash; of one longer than 4,096
-- bytes (the kernel's PATH_MAX) only the end, behind '.../'.
CREATE FUNCTION directory_path(of_medium int, of_volume smallint, of_ino bigint) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH RECURSIVE up(ino, parent_ino, path, depth) AS (
        SELECT * FROM (
            SELECT ino, parent_ino, name, 1 FROM name
            WHERE medium_id = of_medium AND volume = of_volume AND ino = of_ino AND (flags & 2) <> 0
            LIMIT 1) start
        UNION ALL
        SELECT above.ino, above.parent_ino,
               CASE WHEN above.ino = above.parent_ino THEN up.path
                    WHEN length(up.path) > 4096 THEN '.../'::bytea || up.path
                    ELSE above.name || '/'::bytea || up.path END,
               up.depth + 1
        FROM up CROSS JOIN LATERAL (
            SELECT ino, parent_ino, name FROM name
            WHERE medium_id = of_medium AND volume = of_volume AND ino = up.parent_ino AND (flags & 2) <> 0
            LIMIT 1) above
        WHERE up.ino <> up.parent_ino AND substr(up.path, 1, 4) <> '.../'::bytea)
    SELECT path FROM up ORDER BY depth DESC LIMIT 1
$$;

CREATE VIEW path AS
SELECT m.medium_hash, e.volume, e.ino,
       CASE WHEN e.ino = e.parent_ino AND e.name = '' THEN ''::bytea
            WHEN p.path = '' THEN e.name ELSE p.path || '/'::bytea || e.name END AS path,
       (e.flags & 1) <> 0 AS duplicate
FROM name e JOIN medium m ON m.id = e.medium_id
CROSS JOIN LATERAL (SELECT directory_path(e.medium_id, e.volume, e.parent_ino) AS path) p;
