BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE buffer_tags (
	buffer_id TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (buffer_id, "key"), 
	FOREIGN KEY(buffer_id) REFERENCES buffers (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
INSERT INTO "buffer_tags" VALUES('byqbbfwfwu3kednkz5dptr4cbu','bufferName','output',1795884999523673);
INSERT INTO "buffer_tags" VALUES('3qhnrhh7wt7m6oxy2dshmxfwhu','name','cut',1795884999239439);
INSERT INTO "buffer_tags" VALUES('ki6uc63dpqvj4wcjqeowenhvse','name','deleted',1795884998995795);
INSERT INTO "buffer_tags" VALUES('4g5hmvd7r2u73ao7opprw4jcdi','name','empty',1795884998716048);
INSERT INTO "buffer_tags" VALUES('byqbbfwfwu3kednkz5dptr4cbu','name','made',1795884999523673);
INSERT INTO "buffer_tags" VALUES('duzg73c7dvjcuc3tmyfvm6b2hi','name','written',1795884998136975);
INSERT INTO "buffer_tags" VALUES('ki6uc63dpqvj4wcjqeowenhvse','site','north',1795884998995795);
INSERT INTO "buffer_tags" VALUES('duzg73c7dvjcuc3tmyfvm6b2hi','site','north',1795884998136975);
INSERT INTO "buffer_tags" VALUES('4g5hmvd7r2u73ao7opprw4jcdi','site','south',1795884998716048);
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
INSERT INTO "buffers" VALUES('duzg73c7dvjcuc3tmyfvm6b2hi','local',1795884998136975,0,NULL,1,0,'82cb29c015abc7ad58f1fbd940dd8b7e',1,'local');
INSERT INTO "buffers" VALUES('4g5hmvd7r2u73ao7opprw4jcdi','local',1795884998716048,0,4387884998712581,1,0,'82cb29c015abc7ad58f1fbd940dd8b7e',1,'local');
INSERT INTO "buffers" VALUES('ki6uc63dpqvj4wcjqeowenhvse','local',1795884998995795,1,4387884999497407,1,0,'82cb29c015abc7ad58f1fbd940dd8b7e',1,'local');
INSERT INTO "buffers" VALUES('3qhnrhh7wt7m6oxy2dshmxfwhu','local',1795884999239439,0,NULL,1,0,'82cb29c015abc7ad58f1fbd940dd8b7e',1,'local');
INSERT INTO "buffers" VALUES('byqbbfwfwu3kednkz5dptr4cbu','local',1795884999523673,0,NULL,1,0,'82cb29c015abc7ad58f1fbd940dd8b7e',1,'local');
CREATE TABLE codespecs (
	name TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	owner_uid INTEGER NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (name, version)
);
INSERT INTO "codespecs" VALUES('tested',1,1795884997914277,0,'{"kind":"job","image":"here","command":["true"]}');
INSERT INTO "codespecs" VALUES('tested',2,1795884997927720,0,'{"kind":"job","image":"here","command":["false"]}');
CREATE TABLE idempotency_keys (
	"key" TEXT NOT NULL, 
	run_id BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY ("key"), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "idempotency_keys" VALUES('the key',1,1795884999530348);
CREATE TABLE run_tags (
	run_id BIGINT NOT NULL, 
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (run_id, "key"), 
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
INSERT INTO "run_tags" VALUES(2,'kind','failed',1795884999979131);
INSERT INTO "run_tags" VALUES(1,'kind','key',1795884999530348);
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
INSERT INTO "runs" VALUES(1,'{"job":{"codespec":{"kind":"job","image":"here","command":["sh","-c","echo made; cat <$INPUT_PIPE >$OUTPUT_PIPE"],"buffers":{"inputs":["input"],"outputs":["output"]}},"buffers":{"input":"duzg73c7dvjcuc3tmyfvm6b2hi","output":"byqbbfwfwu3kednkz5dptr4cbu"},"tags":{"name":"made"},"replicas":1},"timeoutSeconds":43200,"bufferAccessTtl":"01:00:00"}','Succeeded',NULL,NULL,1795884999530348,1795884999581257,1795884999735701,1795884999779568,1,0,'82cb29c015abc7ad58f1fbd940dd8b7e',1);
INSERT INTO "runs" VALUES(2,'{"job":{"codespec":{"kind":"job","image":"here","command":["false"]},"replicas":1},"timeoutSeconds":43200,"bufferAccessTtl":"01:00:00"}','Failed','Main exited with code 1',NULL,1795884999979131,1795884999999692,1795885000049899,1795885000090592,1,0,'82cb29c015abc7ad58f1fbd940dd8b7e',1);
INSERT INTO "runs" VALUES(3,'{"job":{"codespec":{"kind":"job","image":"here","command":["false"]},"replicas":1},"timeoutSeconds":43200,"bufferAccessTtl":"01:00:00"}','Running',NULL,NULL,1795884999979132,1795884999979133,NULL,NULL,0,0,'82cb29c015abc7ad58f1fbd940dd8b7e',1);
CREATE TABLE settings (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "settings" VALUES('installation','82cb29c015abc7ad58f1fbd940dd8b7e');
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
INSERT INTO "transfers" VALUES('015d6d145c16abbd8ba20bbd74fd8642','duzg73c7dvjcuc3tmyfvm6b2hi',NULL,'complete',NULL,4194304,1.0,3890,2,1795884998452057,1795884998467960,0,'82cb29c015abc7ad58f1fbd940dd8b7e',1,'local',0,NULL,'live',3890,NULL);
INSERT INTO "transfers" VALUES('72d69f3427ea80c4208b71d16b7ce9fc','byqbbfwfwu3kednkz5dptr4cbu',1,'complete',NULL,4194304,1.0,3890,2,1795884999686354,1795884999731297,0,'82cb29c015abc7ad58f1fbd940dd8b7e',1,'local',0,NULL,'live',3890,NULL);
INSERT INTO "transfers" VALUES('00112233445566778899aabbccddeeff','3qhnrhh7wt7m6oxy2dshmxfwhu',NULL,'running',NULL,4194304,1.0,0,0,1795884999239439,NULL,0,'82cb29c015abc7ad58f1fbd940dd8b7e',1,'local',0,NULL,'live',0,NULL);
CREATE INDEX buffers_by_expiry ON buffers (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX buffers_by_age ON buffers (is_soft_deleted, created_at DESC, id DESC) WHERE is_ready = 1;
CREATE INDEX runs_by_age ON runs (created_at DESC, id DESC);
CREATE INDEX runs_by_status ON runs (status, created_at DESC, id DESC);
CREATE INDEX runs_unfinished ON runs (id) WHERE final = 0;
CREATE INDEX transfers_by_age ON transfers (created_at DESC, id DESC);
CREATE INDEX transfers_unfinished ON transfers (id) WHERE finished_at IS NULL;
CREATE INDEX buffer_tags_by_age ON buffer_tags ("key", value, created_at DESC, buffer_id DESC);
CREATE INDEX run_tags_by_age ON run_tags ("key", value, created_at DESC, run_id DESC);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',3);
COMMIT;
