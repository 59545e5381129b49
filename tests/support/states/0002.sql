BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE buffer_tags (
	buffer_id TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (buffer_id, "key"), 
	FOREIGN KEY(buffer_id) REFERENCES buffers (id) ON DELETE CASCADE
);
INSERT INTO "buffer_tags" VALUES('iw34t2p7yugzg4xyswkpruccey','name','written');
INSERT INTO "buffer_tags" VALUES('iw34t2p7yugzg4xyswkpruccey','site','north');
INSERT INTO "buffer_tags" VALUES('u3clcvuws3pdyzfl43dwt3sure','name','empty');
INSERT INTO "buffer_tags" VALUES('u3clcvuws3pdyzfl43dwt3sure','site','south');
INSERT INTO "buffer_tags" VALUES('ykwrjzrh7rp6rbt6o7ea24azka','name','deleted');
INSERT INTO "buffer_tags" VALUES('ykwrjzrh7rp6rbt6o7ea24azka','site','north');
INSERT INTO "buffer_tags" VALUES('5j257oebivr3cdxhn66zf6zbcu','name','cut');
INSERT INTO "buffer_tags" VALUES('43fi2dnccnnuyiqytfl6lyqeye','bufferName','output');
INSERT INTO "buffer_tags" VALUES('43fi2dnccnnuyiqytfl6lyqeye','name','made');
CREATE TABLE buffers (
	id TEXT NOT NULL, 
	location TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	is_soft_deleted BOOLEAN NOT NULL, 
	expires_at BIGINT, 
	is_ready BOOLEAN NOT NULL, 
	owner_uid INTEGER NOT NULL, 
	owner TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	account TEXT DEFAULT 'local' NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "buffers" VALUES('iw34t2p7yugzg4xyswkpruccey','local',1795884994560148,0,NULL,1,0,'2590712e82e8fb1c066cd3aa94f1a921',1,'local');
INSERT INTO "buffers" VALUES('u3clcvuws3pdyzfl43dwt3sure','local',1795884995009116,0,4387884995007592,1,0,'2590712e82e8fb1c066cd3aa94f1a921',1,'local');
INSERT INTO "buffers" VALUES('ykwrjzrh7rp6rbt6o7ea24azka','local',1795884995105040,1,4387884995387510,1,0,'2590712e82e8fb1c066cd3aa94f1a921',1,'local');
INSERT INTO "buffers" VALUES('5j257oebivr3cdxhn66zf6zbcu','local',1795884995205728,0,NULL,1,0,'2590712e82e8fb1c066cd3aa94f1a921',1,'local');
INSERT INTO "buffers" VALUES('43fi2dnccnnuyiqytfl6lyqeye','local',1795884995410198,0,NULL,1,0,'2590712e82e8fb1c066cd3aa94f1a921',1,'local');
CREATE TABLE codespecs (
	name TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	owner_uid INTEGER NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (name, version)
);
INSERT INTO "codespecs" VALUES('tested',1,1795884994420568,0,'{"kind":"job","image":"here","command":["true"]}');
INSERT INTO "codespecs" VALUES('tested',2,1795884994435584,0,'{"kind":"job","image":"here","command":["false"]}');
CREATE TABLE idempotency_keys (
	"key" TEXT NOT NULL, 
	run_id BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY ("key"), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "idempotency_keys" VALUES('the key',1,1795884995416703);
CREATE TABLE run_tags (
	run_id BIGINT NOT NULL, 
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (run_id, "key"), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "run_tags" VALUES(1,'kind','key');
INSERT INTO "run_tags" VALUES(2,'kind','failed');
CREATE TABLE runs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	body TEXT NOT NULL, 
	status TEXT NOT NULL, 
	status_reason TEXT, 
	running_count INTEGER, 
	created_at BIGINT NOT NULL, 
	started_at BIGINT, 
	finished_at BIGINT, 
	logs_archived_at BIGINT, 
	final BOOLEAN NOT NULL, 
	owner_uid INTEGER NOT NULL, 
	owner TEXT NOT NULL, 
	epoch INTEGER NOT NULL
);
INSERT INTO "runs" VALUES(1,'{"job":{"codespec":{"kind":"job","image":"here","command":["sh","-c","echo made; cat <$INPUT_PIPE >$OUTPUT_PIPE"],"buffers":{"inputs":["input"],"outputs":["output"]}},"buffers":{"input":"iw34t2p7yugzg4xyswkpruccey","output":"43fi2dnccnnuyiqytfl6lyqeye"},"tags":{"name":"made"},"replicas":1},"timeoutSeconds":43200,"bufferAccessTtl":"01:00:00"}','Succeeded',NULL,NULL,1795884995416703,1795884995442135,1795884995523288,1795884995551342,1,0,'2590712e82e8fb1c066cd3aa94f1a921',1);
INSERT INTO "runs" VALUES(2,'{"job":{"codespec":{"kind":"job","image":"here","command":["false"]},"replicas":1},"timeoutSeconds":43200,"bufferAccessTtl":"01:00:00"}','Failed','Main exited with code 1',NULL,1795884995689210,1795884995698825,1795884995711145,1795884995722946,1,0,'2590712e82e8fb1c066cd3aa94f1a921',1);
INSERT INTO "runs" VALUES(3,'{"job":{"codespec":{"kind":"job","image":"here","command":["false"]},"replicas":1},"timeoutSeconds":43200,"bufferAccessTtl":"01:00:00"}','Running',NULL,NULL,1795884995689211,1795884995689212,NULL,NULL,0,0,'2590712e82e8fb1c066cd3aa94f1a921',1);
CREATE TABLE settings (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "settings" VALUES('installation','2590712e82e8fb1c066cd3aa94f1a921');
CREATE TABLE transfers (
	id TEXT NOT NULL, 
	buffer TEXT NOT NULL, 
	run BIGINT, 
	state TEXT NOT NULL, 
	reason TEXT, 
	block_size INTEGER NOT NULL, 
	flush_interval FLOAT NOT NULL, 
	bytes BIGINT NOT NULL, 
	blocks BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	finished_at BIGINT, 
	owner_uid INTEGER NOT NULL, 
	owner TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	account TEXT DEFAULT 'local' NOT NULL, 
	paused BOOLEAN DEFAULT 0 NOT NULL, 
	stalled TEXT, 
	priority TEXT DEFAULT 'live' NOT NULL, 
	shipped BIGINT DEFAULT '0' NOT NULL, 
	code TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "transfers" VALUES('86e6db91d5f9f469ac51c4b215e6a1ae','iw34t2p7yugzg4xyswkpruccey',NULL,'complete',NULL,4194304,1.0,3890,2,1795884994802534,1795884994809482,0,'2590712e82e8fb1c066cd3aa94f1a921',1,'local',0,NULL,'live',3890,NULL);
INSERT INTO "transfers" VALUES('d41f10905d6999c6e85f0ac50340fbb0','43fi2dnccnnuyiqytfl6lyqeye',1,'complete',NULL,4194304,1.0,3890,2,1795884995491151,1795884995511442,0,'2590712e82e8fb1c066cd3aa94f1a921',1,'local',0,NULL,'live',3890,NULL);
INSERT INTO "transfers" VALUES('00112233445566778899aabbccddeeff','5j257oebivr3cdxhn66zf6zbcu',NULL,'running',NULL,4194304,1.0,0,0,1795884995205728,NULL,0,'2590712e82e8fb1c066cd3aa94f1a921',1,'local',0,NULL,'live',0,NULL);
CREATE INDEX buffers_by_expiry ON buffers (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX buffers_by_age ON buffers (is_soft_deleted, created_at DESC, id DESC);
CREATE INDEX runs_unfinished ON runs (id) WHERE final = 0;
CREATE INDEX runs_by_age ON runs (created_at DESC, id DESC);
CREATE INDEX runs_by_status ON runs (status, created_at DESC, id DESC);
CREATE INDEX transfers_unfinished ON transfers (id) WHERE finished_at IS NULL;
CREATE INDEX transfers_by_age ON transfers (created_at DESC, id DESC);
CREATE INDEX buffer_tags_by_value ON buffer_tags ("key", value, buffer_id);
CREATE INDEX run_tags_by_value ON run_tags ("key", value, run_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',3);
COMMIT;
